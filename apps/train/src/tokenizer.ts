import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type CommandContext, wholeNumber } from '@mezzotint/app';
import { openDataset, writeFileAtomically } from '@mezzotint/data';
import { clipTokenizer, clipTokenizerToTransformers } from '@mezzotint/text-encoders';
import { Command } from 'commander';
import { vocabularyOf } from './vocabulary.js';

/** The flags of `train tokenizer`. */
export interface TokenizerFlags {
  readonly data: string;
  readonly out: string;
  readonly size: number;
  readonly minFrequency: number;
  readonly maxLength: number;
  readonly overwrite?: boolean;
}

export function tokenizerCommand(): Command {
  return new Command('train tokenizer')
    .description(
      "Learns a vocabulary of byte pairs of the captions of pictures, as CLIP's tokenizer has them: vocab.json, merges.txt and the settings " +
        "that transformers' CLIPTokenizer reads. The task clip learns its own; this is for one that several models share (tokenizer.from).",
    )
    .requiredOption('--data <path>', 'captioned pictures: a folder or a .tar archive')
    .requiredOption('--out <folder>', 'where the files go')
    .option('--size <n>', 'tokens at most', wholeNumber('--size', 514), 4096)
    .option('--min-frequency <n>', 'how often a pair must stand in the captions', wholeNumber('--min-frequency', 1), 2)
    .option('--max-length <n>', 'tokens of a text, start and end included', wholeNumber('--max-length', 3), 32)
    .option('--overwrite', 'replace existing files')
    .addHelpText('after', '\nExample:\n  pnpm train tokenizer --data my-pictures --size 4096 --out runs/tokenizer');
}

/** Learns a vocabulary and writes its folder. */
export async function runTokenizer(
  { data, out, size, minFrequency, maxLength, overwrite = false }: TokenizerFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  const { examples } = await openDataset(data, { folderClasses: 'never' });
  const captions = examples.map((example) => example.captions);
  const vocabulary = vocabularyOf({ size, minFrequency }, captions);
  await mkdir(out, { recursive: true });
  for (const [name, content] of Object.entries(clipTokenizerToTransformers(vocabulary, { maxLength }))) {
    await writeFileAtomically(join(out, name), new TextEncoder().encode(content), { overwrite });
  }
  const tokenizer = clipTokenizer(vocabulary);
  const lengths = captions.flat().map((caption) => tokenizer.encode(caption).length + 2);
  const tokens = Object.keys(vocabulary.vocab).length;
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  say(
    `${tokens} tokens of ${lengths.length} captions, which have ${mean.toFixed(1)} tokens each and ${longest} at most`,
  );
  if (longest > maxLength)
    say(
      `Note: ${lengths.filter((length) => length > maxLength).length} captions are longer than ${maxLength} and are cut`,
    );
  result({ out: resolve(out), tokens, captions: lengths.length, longest });
}
