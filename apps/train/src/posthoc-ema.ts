import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { averagedModels, type CommandContext, prepareOutput } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { powerExponent } from '@mezzotint/training';
import { listSnapshots, reconstructAverages } from '@mezzotint/training/node';
import { Command } from 'commander';

/** The flags of `train posthoc-ema`. */
export interface PosthocEmaFlags {
  readonly run?: string;
  readonly snapshots?: string;
  readonly sigmaRel: readonly number[];
  readonly images?: number;
  readonly out?: string;
  readonly overwrite?: boolean;
}

export function posthocEmaCommand(): Command {
  return new Command('train posthoc-ema')
    .description(
      'Averages of any EMA length after a training, from the snapshots of its power function averages (EDM2, section 3).\n' +
        'Takes the run folder of a training with ema.sigmaRel and ema.snapshotEvery, or any folder of snapshots, also EDM2’s .pkl files.\n' +
        'Of a run that has ended each average is a model folder, which sample and evaluate open.',
    )
    .option('--run <folder>', 'run folder of train, whose snapshots/ is read')
    .option('--snapshots <folder>', 'folder of snapshots, in the place of --run')
    .requiredOption('--sigma-rel <list>', "relative widths, such as '0.05,0.10,0.15'", parseWidths)
    .option('--images <n>', 'images seen at the time of the average (default: at the last snapshot)', Number)
    .option('--out <folder>', 'where the averages go (default: posthoc-ema/ in the run folder)')
    .option('--overwrite', 'replace existing averages')
    .addHelpText('after', '\nExample:\n  pnpm train posthoc-ema --run runs/digits --sigma-rel 0.05,0.10,0.15');
}

function parseWidths(text: string): number[] {
  const widths = text.split(',').map((part) => Number(part.trim()));
  for (const width of widths) powerExponent(width);
  return widths;
}

/** Reconstructs the averages and says where they are. */
export async function runPosthocEma(
  { run, snapshots, sigmaRel, images, out, overwrite = false }: PosthocEmaFlags,
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if ((run === undefined) === (snapshots === undefined)) {
    throw new InvalidArgumentError('train posthoc-ema', 'expected --run or --snapshots, and not both');
  }
  const ended = run !== undefined && existsSync(join(run, 'model', 'config.json'));
  const folder = snapshots ?? join(run!, 'snapshots');
  const place = out ?? join(run ?? snapshots!, 'posthoc-ema');
  const time = images !== undefined && { images };
  const paths = ended
    ? await averagedModels(run, sigmaRel, { ...time, out: place, existing: overwrite ? 'replace' : 'refuse' })
    : await averagedFiles(folder, sigmaRel, place, { ...time, overwrite });
  const used = listSnapshots(folder);
  for (const [i, width] of sigmaRel.entries()) say(`${paths[i]}: EMA of relative width ${width}`);
  say(`from ${used.length} snapshots up to ${used.at(-1)!.time.toLocaleString('en-US')} images`);
  result({ snapshots: used.length, averages: sigmaRel.map((width, i) => ({ sigmaRel: width, path: paths[i] })) });
}

/** Weights alone: of a folder of snapshots, or of a run that has not ended. */
async function averagedFiles(
  folder: string,
  widths: readonly number[],
  place: string,
  { images, overwrite }: { readonly images?: number; readonly overwrite: boolean },
): Promise<string[]> {
  if (!existsSync(folder)) {
    throw new InvalidArgumentError(
      'train posthoc-ema',
      `${folder} is not there: a training leaves it when its configuration has ema.sigmaRel and ema.snapshotEvery`,
    );
  }
  const targets = widths.map((sigmaRel) => ({
    ...{ sigmaRel, path: join(place, `ema-${sigmaRel}.safetensors`) },
    ...(images !== undefined && { time: images }),
  }));
  for (const { path } of targets) prepareOutput(path, overwrite);
  await reconstructAverages(folder, targets, { overwrite });
  return targets.map(({ path }) => path);
}
