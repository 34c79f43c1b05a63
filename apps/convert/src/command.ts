import { type CommandContext, oneOf, prepareOutput } from '@mezzotint/app/terminal';
import { InvalidArgumentError } from '@mezzotint/core';
import { type FloatDType, modulesAsMetadata, modulesOf, type WeightFile } from '@mezzotint/weights';
import { readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { Command } from 'commander';

/** The flags of `convert`. */
export interface ConvertFlags {
  readonly part?: string;
  readonly dtype?: FloatDType;
  readonly overwrite?: boolean;
}

export function convertCommand(): Command {
  return new Command('convert')
    .description(
      'Converts weights to safetensors: .pkl snapshots of EDM and EDM2, .pt, .pth, .ckpt, .bin, .npz and sharded files. ' +
        'Nothing in a file is executed, and no Python is needed.',
    )
    .argument('<input>', 'file, shard index or folder of weights')
    .argument('<output>', 'safetensors file to write')
    .option('--part <name>', 'part of a checkpoint to take, for example model where ema would be taken')
    .option('--dtype <type>', 'type of the floats: F32, F16 or BF16', oneOf('--dtype', ['F32', 'F16', 'BF16']), 'F32')
    .option('--overwrite', 'replace an existing output')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm convert edm2-img512-xs-2147483-0.135.pkl edm2-img512-xs.safetensors --dtype F16',
    );
}

/** Opens the input, writes the output tensor by tensor, and says what was in it. */
export async function runConvert(
  [input, output]: readonly string[],
  { part, dtype = 'F32', overwrite = false }: ConvertFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if (!output!.endsWith('.safetensors')) {
    throw new InvalidArgumentError('convert', `expected an output named *.safetensors, got '${output}'`);
  }
  prepareOutput(output!, overwrite);
  const file = await readWeights(input!, part === undefined ? {} : { part });
  try {
    const modules = modulesOf(file);
    const metadata = { ...Object.fromEntries(file.metadata), ...modulesAsMetadata(modules) };
    await writeSafetensors(output!, file, { dtype, overwrite, metadata });
    const network = modules.get(partOf(file) || 'ema')?.className;
    const tensors = file.tensors.size;
    const numbers = [...file.tensors.values()].reduce(
      (sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1),
      0,
    );
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

/** The part of a torch checkpoint that was taken; '' for the whole or another kind of file. */
function partOf(file: WeightFile): string {
  return (file as { readonly part?: string }).part ?? '';
}
