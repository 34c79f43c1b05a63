import { resolve } from 'node:path';
import { type CommandContext, startProgress, wholeNumber } from '@mezzotint/app';
import { type EmojiSetName, emojiSets, writeEmojiFolder } from '@mezzotint/data/emoji';
import { Command } from 'commander';

/** The flags of `train emoji-data`. */
export interface EmojiDataFlags {
  readonly out: string;
  readonly sets: readonly string[];
  readonly size: number;
  readonly seed: number;
  readonly packages?: string;
}

export function emojiDataCommand(): Command {
  return new Command('train emoji-data')
    .description(
      'Writes emoji of npm packages as captioned pictures: train/, held-out/ (things that training never sees) and\n' +
        'combinations/ (words that training sees apart, never together), each with a metadata.jsonl.',
    )
    .requiredOption('--out <folder>', 'new folder')
    .option(
      '--sets <list>',
      `of ${Object.keys(emojiSets).join(', ')}`,
      (text) => text.split(',').map((name) => name.trim()),
      ['noto', 'twemoji'],
    )
    .option('--size <pixels>', 'pixels a side', wholeNumber('--size', 8), 64)
    .option(
      '--packages <folder>',
      'where the npm packages of the pictures are installed (default: the working directory)',
    )
    .option('--seed <n>', 'seed of the split', wholeNumber('--seed'), 0)
    .addHelpText(
      'after',
      '\nExample:\n  pnpm train emoji-data --packages data/packages --out data/emoji\n  pnpm train --data data/emoji/train --run runs/emoji',
    );
}

/** Writes the folder and says what is in it and whose pictures they are. */
export async function runEmojiData(
  { out, sets, size, seed, packages }: EmojiDataFlags,
  { say, result, signal }: CommandContext,
): Promise<void> {
  const progress = startProgress('Drawing emoji', 1);
  const summary = await writeEmojiFolder(out, {
    sets: sets as readonly EmojiSetName[],
    size,
    seed,
    ...(packages !== undefined && { from: resolve(packages) }),
    signal,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.stop());
  for (const [part, count] of Object.entries(summary.pictures)) say(`${out}/${part}: ${count} pictures`);
  for (const { style, makers, licence } of summary.sets) say(`${style}: ${makers}, ${licence}`);
  result(summary);
}
