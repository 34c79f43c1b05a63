import { existsSync, readdirSync, statSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CommandContext, oneOf, prepareOutput } from '@mezzotint/app/terminal';
import { InvalidArgumentError, sizeOf } from '@mezzotint/core';
import { modulesAsMetadata, modulesOf, type WeightFile } from '@mezzotint/weights';
import { readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { Command } from 'commander';

const DTYPES = ['F32', 'F16', 'BF16', 'I8'] as const;

/** The flags of `convert`. */
export interface ConvertFlags {
  readonly part?: string;
  readonly dtype?: (typeof DTYPES)[number];
  readonly overwrite?: boolean;
}

export function convertCommand(): Command {
  return new Command('convert')
    .description(
      'Converts weights to safetensors: .pkl snapshots of EDM and EDM2, .pt, .pth, .ckpt, .bin, .npz and sharded files. ' +
        'Nothing in a file is executed, and no Python is needed. A model folder of train becomes one with smaller weights.',
    )
    .argument('<input>', 'file, shard index or folder of weights; or a model folder of train')
    .argument('<output>', 'safetensors file to write; or a folder for a model folder')
    .option('--part <name>', 'part of a checkpoint to take, for example model where ema would be taken')
    .option(
      '--dtype <type>',
      'type of the floats: F32, F16, BF16, or I8 (weights of layers in 8 bits with a scale a row, the rest F16)',
      oneOf('--dtype', DTYPES),
      'F32',
    )
    .option('--overwrite', 'replace an existing output')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm convert edm2-img512-xs-2147483-0.135.pkl edm2-img512-xs.safetensors --dtype F16\n' +
        '  pnpm convert runs/emoji/model small-emoji --dtype I8',
    );
}

/** Opens the input, writes the output tensor by tensor, and says what was in it; of a model folder each file of it. */
export async function runConvert(
  [input, output]: readonly string[],
  flags: ConvertFlags,
  context: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if (output!.endsWith('.safetensors')) return convertFile(input!, output!, flags, context);
  if (existsSync(join(input!, 'config.json'))) return convertFolder(input!, output!, flags, context);
  throw new InvalidArgumentError(
    'convert',
    `expected an output named *.safetensors (or a model folder with config.json as input), got '${output}'`,
  );
}

/** Copies a model folder, its weights in another type. All or nothing. */
async function convertFolder(
  input: string,
  output: string,
  { part, dtype = 'F32', overwrite = false }: ConvertFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if (part !== undefined) throw new InvalidArgumentError('--part', 'a model folder has no parts of a checkpoint');
  if (existsSync(output) && !(overwrite && existsSync(join(output, 'config.json')))) {
    const hint = overwrite ? 'and is no model folder: choose another' : 'choose another, or --overwrite';
    throw new InvalidArgumentError('convert', `${output} is there already: ${hint}`);
  }
  const partial = `${output}.partial`;
  await rm(partial, { recursive: true, force: true });
  const names = readdirSync(input, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(input, name)).isFile(),
  );
  let [numbers, bytes] = [0, 0];
  for (const name of names) {
    const to = join(partial, name);
    await mkdir(dirname(to), { recursive: true });
    if (name.endsWith('.safetensors')) {
      const file = await readWeights(join(input, name));
      try {
        await writeSafetensors(to, file, { dtype, metadata: Object.fromEntries(file.metadata) });
        numbers += numbersOf(file);
      } finally {
        file.close();
      }
    } else await cp(join(input, name), to);
    bytes += statSync(to).size;
  }
  if (numbers === 0) {
    await rm(partial, { recursive: true, force: true });
    throw new InvalidArgumentError('convert', `${input}: holds no *.safetensors`);
  }
  if (existsSync(output)) await rm(output, { recursive: true });
  await rename(partial, output);
  say(`${output}: ${names.length} files, ${numbers.toLocaleString('en-US')} numbers in ${(bytes / 1e6).toFixed(1)} MB`);
  result({ output, files: names.length, numbers, bytes, dtype });
}

async function convertFile(
  input: string,
  output: string,
  { part, dtype = 'F32', overwrite = false }: ConvertFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  prepareOutput(output, overwrite);
  const file = await readWeights(input, part === undefined ? {} : { part });
  try {
    const modules = modulesOf(file);
    const metadata = { ...Object.fromEntries(file.metadata), ...modulesAsMetadata(modules) };
    await writeSafetensors(output, file, { dtype, overwrite, metadata });
    const network = modules.get(partOf(file) || 'ema')?.className;
    const tensors = file.tensors.size;
    const numbers = numbersOf(file);
    const what = [
      `${tensors.toLocaleString('en-US')} tensors, ${numbers.toLocaleString('en-US')} numbers`,
      ...(partOf(file) ? [`of '${partOf(file)}'`] : []),
      ...(network === undefined ? [] : [`class ${network}, its configuration in the metadata`]),
    ];
    say(`${output}: ${what.join(', ')}`);
    result({ output, tensors, numbers, part: partOf(file), dtype, className: network ?? null });
  } finally {
    file.close();
  }
}

function numbersOf({ tensors }: WeightFile): number {
  return [...tensors.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** The part of a torch checkpoint that was taken; '' for the whole or another kind of file. */
function partOf(file: WeightFile): string {
  return (file as { readonly part?: string }).part ?? '';
}
