import { type CommandContext, startProgress, wholeNumber } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import {
  type EmojiClassName,
  type EmojiSetName,
  emojiClasses,
  emojiSets,
  writeEmojiClasses,
  writeEmojiFolder,
} from '@mezzotint/data/emoji';
import { Command } from 'commander';

/** The flags of `train emoji-data`. */
export interface EmojiDataFlags {
  readonly out: string;
  readonly sets: readonly string[];
  readonly size: number;
  readonly seed: number;
  readonly tones?: number;
  readonly packages?: string;
  /** True: all classes. */
  readonly classes?: readonly string[] | true;
}

const names = (text: string) => text.split(',').map((name) => name.trim());

export function emojiDataCommand(): Command {
  return new Command('train emoji-data')
    .description(
      'Writes emoji of npm packages as captioned pictures: train/, held-out/ (code points that are kept from train/, in all\n' +
        'sets and skin tones) and combinations/ (a colour, a set or a skin tone with a thing that train/ has apart), each with a\n' +
        'metadata.jsonl. With --classes a folder of pictures for each class instead.',
    )
    .requiredOption('--out <folder>', 'new folder')
    .option('--sets <list>', `of ${Object.keys(emojiSets).join(', ')}`, names, ['noto', 'twemoji'])
    .option('--size <pixels>', 'pixels a side', wholeNumber('--size', 8), 64)
    .option(
      '--packages <folder>',
      'where the npm packages of the pictures are installed (default: the working directory)',
    )
    .option(
      '--classes [list]',
      `in the place of captions, a folder for each class: all of ${Object.keys(emojiClasses).join(', ')}, or some`,
      names,
    )
    .option('--seed <n>', 'seed of the split of captioned pictures', wholeNumber('--seed'), 0)
    .option(
      '--tones <n>',
      'how many of the five skin tones train/ has of each person and gesture (default: 5)',
      wholeNumber('--tones', 0),
    )
    .addHelpText(
      'after',
      '\nExample:\n  pnpm train emoji-data --packages data/packages --out data/emoji\n  pnpm train --data data/emoji/train --run runs/emoji' +
        '\n  pnpm train emoji-data --packages data/packages --classes --size 32 --out data/emoji-classes\n  pnpm train --config apps/train/configs/emoji-dit.json --run runs/emoji-dit',
    );
}

/** Writes the folder and says what is in it and whose pictures they are. */
export async function runEmojiData(
  { out, sets, size, seed, tones, packages, classes }: EmojiDataFlags,
  { say, result, signal }: CommandContext,
): Promise<void> {
  if (classes !== undefined && tones !== undefined) {
    throw new InvalidArgumentError('--tones', 'a class set has all skin tones; leave --tones or --classes out');
  }
  const progress = startProgress('Drawing emoji', 1);
  const options = {
    sets: sets as readonly EmojiSetName[],
    size,
    ...(packages !== undefined && { from: packages }),
    signal,
    onProgress: (done: number, total: number) => progress.update(done, total),
  };
  const written =
    classes === undefined
      ? writeEmojiFolder(out, { ...options, seed, ...(tones !== undefined && { tones }) })
      : writeEmojiClasses(out, { ...options, ...(classes !== true && { classes: classes as EmojiClassName[] }) });
  const summary = await written.finally(() => progress.stop());
  for (const [part, count] of Object.entries(summary.pictures)) say(`${out}/${part}: ${count} pictures`);
  for (const { style, makers, licence } of summary.sets) say(`${style}: ${makers}, ${licence}`);
  result(summary);
}
