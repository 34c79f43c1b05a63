import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { type CommandContext, oneOf, prepareOutput } from '@mezzotint/app/terminal';
import { InvalidArgumentError, sizeOf } from '@mezzotint/core';
import { replaceFolder, temporaryName } from '@mezzotint/core/node';
import { modulesAsMetadata, modulesOf, type WeightFile } from '@mezzotint/weights';
import { readJson, readWeights, writeSafetensors } from '@mezzotint/weights/node';
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
    .argument('<input>', 'file, shard index or folder of weights; or a model or run folder of train')
    .argument('<output>', 'safetensors file to write; or a folder for a model folder')
    .option('--part <name>', 'part of a checkpoint to take, for example model where ema would be taken')
    .option(
      '--dtype <type>',
      'type of the floats: F32, F16, BF16, or I8 (weights of layers in 8 bits with a scale a row, the rest F16)',
      oneOf('--dtype', DTYPES),
      'F32',
    )
    .option(
      '--overwrite',
      'replace an existing output; in a folder what is not of the model stays, such as its README.md',
    )
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
  const model = modelFolder(input!);
  if (model !== undefined) return convertFolder(model, output!, flags, context);
  throw new InvalidArgumentError(
    'convert',
    existsSync(join(input!, 'checkpoints'))
      ? `${input} is a run that has not ended: it has no model/ yet`
      : `expected an output named *.safetensors, or as input a model folder (config.json and weights), got '${input}' and '${output}'`,
  );
}

/** Whether a folder is that of a run: its checkpoints are no model. */
const isRun = (folder: string) => existsSync(join(folder, 'checkpoints'));

/** Whether a folder is a model's: `config.json` of ours, or of another library with weights beside it. */
function holdsModel(folder: string): boolean {
  const config = join(folder, 'config.json');
  if (isRun(folder) || !existsSync(config)) return false;
  if (readdirSync(folder).some((name) => name.endsWith('.safetensors'))) return true;
  const { format } = (readJson(config) ?? {}) as { format?: unknown };
  return typeof format === 'string' && format.startsWith('mezzotint/'); // a cascade has its weights in folders
}

/** The model folder that is meant: the folder itself, or the `model/` of a run. */
function modelFolder(path: string): string | undefined {
  return [path, join(path, 'model')].find(holdsModel);
}

/** A path without links in it; of what is not there yet, as far as it is. */
function realPath(path: string): string {
  const whole = resolve(path);
  return existsSync(whole) ? realpathSync(whole) : join(realPath(dirname(whole)), basename(whole));
}

/** What speaks against an output: one that is there is replaced only with `overwrite`, and only the folder of another model. */
function problemOf(input: string, output: string, overwrite: boolean): string | undefined {
  const [from, to] = [realPath(input), realPath(output)];
  if (from.startsWith(`${to}${sep}`)) return `holds ${input}, which is read: choose another`;
  if (to.startsWith(`${from}${sep}`)) return `lies in ${input}, which is read: choose another`;
  if (!existsSync(to)) return undefined;
  if (!overwrite) return 'is there already: choose another, or --overwrite';
  return holdsModel(to)
    ? undefined
    : `is there already and is ${isRun(to) ? 'a run' : 'no model'} folder: choose another`;
}

/** Copies a model folder, its weights in another type. All or nothing; what else lies in an output that is replaced stays there. */
async function convertFolder(
  input: string,
  output: string,
  { part, dtype = 'F32', overwrite = false }: ConvertFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if (part !== undefined) throw new InvalidArgumentError('--part', 'a model folder has no parts of a checkpoint');
  const problem = problemOf(input, output, overwrite);
  if (problem !== undefined) throw new InvalidArgumentError('convert', `${output} ${problem}`);
  const place = realPath(output);
  const partial = temporaryName(place);
  const names = readdirSync(input, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(input, name)).isFile(),
  );
  let [numbers, bytes] = [0, 0];
  try {
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
      } else await cp(join(input, name), to, { dereference: true }); // files of a Hugging Face snapshot are links
      bytes += statSync(to).size;
    }
    if (numbers === 0) throw new InvalidArgumentError('convert', `${input}: holds no *.safetensors`);
    if (overwrite && existsSync(place)) {
      const filter = (path: string) => !names.includes(relative(place, path));
      await cp(place, partial, { recursive: true, filter, preserveTimestamps: true, verbatimSymlinks: true });
      await replaceFolder(partial, place);
    } else await rename(partial, place);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
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
