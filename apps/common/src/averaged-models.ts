import { cpSync, existsSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { listSnapshots, reconstructAverages } from '@mezzotint/training/node';
import { withoutPrefix } from '@mezzotint/weights';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { prepareOutput } from './output-file.js';

/** How averages are made. */
export interface AveragedModelsOptions {
  /** Images seen at the time of the averages; those of the last snapshot when absent. */
  readonly images?: number;
  /** Where the models go. Default: `posthoc-ema/` in the run folder. */
  readonly out?: string;
  /** What happens to a model that is there: an error, a new one in its place, or it is taken when it is of the same time. */
  readonly existing?: 'refuse' | 'replace' | 'take';
}

/**
 * Models of a training run with averages of any length, made of its snapshots (EDM2, section 3): a folder for each width.
 *
 * @throws InvalidArgumentError when the run left no snapshots, has not ended, trained an adapter, or a model is there and may not be replaced
 */
export async function averagedModels(
  run: string,
  widths: readonly number[],
  { images, out = join(run, 'posthoc-ema'), existing = 'refuse' }: AveragedModelsOptions = {},
): Promise<string[]> {
  const [snapshots, config] = [join(run, 'snapshots'), join(run, 'model', 'config.json')];
  if (!existsSync(snapshots)) {
    const problem = 'is not there: a training leaves it when its configuration has ema.sigmaRel and ema.snapshotEvery';
    throw new InvalidArgumentError(snapshots, problem);
  }
  if (!existsSync(config)) throw new InvalidArgumentError(config, 'is not there: the training has not ended');
  if (isOfAdapter(snapshots)) {
    throw new InvalidArgumentError(
      run,
      `trained a LoRA, whose averages make no whole model: train posthoc-ema --snapshots ${snapshots} writes them as adapters, with peft's names`,
    );
  }
  const time = images ?? listSnapshots(snapshots).at(-1)?.time;
  const models = widths.map((sigmaRel) => ({
    ...{ sigmaRel, path: join(out, `ema-${sigmaRel}`, 'model.safetensors') },
    ...(images !== undefined && { time: images }),
  }));
  const wanted = models.filter(({ path }) => !(existing === 'take' && existsSync(path) && isOf(path, time)));
  for (const { path } of wanted) prepareOutput(path, existing === 'replace');
  // Processes that are started together make the same bytes.
  if (wanted.length > 0) await reconstructAverages(snapshots, wanted, { overwrite: existing !== 'refuse' });
  for (const { path } of wanted) {
    // The autoencoder and the text encoders beside the weights too.
    const weights = join(run, 'model', 'model.safetensors');
    cpSync(join(run, 'model'), dirname(path), { recursive: true, filter: (file) => file !== weights });
    await withOwnEncoders(path);
  }
  return models.map(({ path }) => dirname(path));
}

/** Text encoders that were trained along stand in the averages as `text.FOLDER.*`, the network as `network.*`: each goes to its own file. */
async function withOwnEncoders(path: string): Promise<void> {
  const file = readSafetensors(path);
  const metadata = Object.fromEntries(file.metadata);
  const parts = new Map<string, string>(); // by prefix, the file
  try {
    const names = [...file.tensors.keys()];
    const encoders = new Set(names.flatMap((name) => /^text\.([^.]+)\./.exec(name)?.[1] ?? []));
    if (encoders.size === 0 || !names.every((name) => /^(?:network|text)\./.test(name))) return;
    parts.set('network.', path);
    for (const folder of encoders) parts.set(`text.${folder}.`, join(dirname(path), folder, 'model.safetensors'));
    for (const [prefix, to] of parts) {
      await writeSafetensors(`${to}.new`, withoutPrefix(file, prefix), { metadata, overwrite: true });
    }
  } finally {
    file.close();
  }
  for (const to of parts.values()) renameSync(`${to}.new`, to);
}

/** Whether the snapshots of a run are of a LoRA. */
function isOfAdapter(snapshots: string): boolean {
  const first = listSnapshots(snapshots)[0];
  if (first === undefined) return false;
  const file = readSafetensors(first.path);
  file.close();
  return [...file.tensors.keys()].every((name) => name.startsWith('base_model.model.'));
}

/** Whether a stored average is that of so many images. */
function isOf(path: string, images: number | undefined): boolean {
  const file = readSafetensors(path);
  file.close();
  return file.metadata.get('images') === String(images);
}
