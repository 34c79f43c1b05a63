import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type CommandContext, runCommand, wholeNumber } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { drawShapes, writeFileAtomically, writePng } from '@mezzotint/data';
import { Command } from 'commander';

interface ShapesFlags {
  readonly count: number;
  readonly size: number;
  readonly seed: number;
}

const command = new Command('shapes')
  .description('Writes a data set of coloured shapes: a folder for each of seven classes, captions in captions.jsonl.')
  .argument('<folder>', 'where to; must be empty or not there')
  .option('--count <n>', 'pictures in all', wholeNumber('--count', 1), 4200)
  .option('--size <pixels>', 'pixels a side', wholeNumber('--size', 1), 32)
  .option('--seed <n>', 'seed of the drawing', wholeNumber('--seed'), 0);

async function writeShapes({ count, size, seed }: ShapesFlags, { result, say }: CommandContext): Promise<void> {
  const folder = command.args[0]!;
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new InvalidArgumentError(folder, 'is not empty: choose another folder');
  }
  const { images, labels, classes, captions } = drawShapes(count, { size, seed });
  for (const name of classes) mkdirSync(join(folder, name), { recursive: true });
  const area = size * size * 3;
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const name = `${classes[labels[i]!]!}/${String(i).padStart(5, '0')}.png`;
    const data = images.subarray(i * area, (i + 1) * area);
    await writePng(join(folder, name), { data, height: size, width: size, channels: 3 });
    lines.push(`${JSON.stringify({ file_name: name, text: captions[i] })}\n`);
  }
  await writeFileAtomically(join(folder, 'captions.jsonl'), new TextEncoder().encode(lines.join('')));
  say(`${count} pictures of ${size} x ${size} in ${classes.length} classes: ${resolve(folder)}`);
  result({ folder: resolve(folder), count });
}

await runCommand<ShapesFlags>(command, writeShapes);
