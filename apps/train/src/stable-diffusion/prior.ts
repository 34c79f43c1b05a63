import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { exampleStream, openDataset, writePng } from '@mezzotint/data';
import { InvalidArgumentError } from '@mezzotint/core';
import type { Pipeline } from '@mezzotint/pipelines';
import type { StableDiffusionTask } from '../config.js';
import type { TrainingBatches } from '../training-data.js';

/**
 * Pictures of the class as the model makes them before the training, in `folder`: those that are not there yet are made. Each has its
 * own seed, so that a run that was stopped in between makes the others.
 */
export async function makePriorPictures(
  folder: string,
  { prior, data, samples }: StableDiffusionTask & { readonly prior: NonNullable<StableDiffusionTask['prior']> },
  pipeline: Pipeline,
  { signal, onMade }: { readonly signal: AbortSignal; readonly onMade: (done: number, total: number) => void },
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { size } = data as { readonly size: number };
  for (let i = 0; i < prior.count; i++) {
    const file = join(folder, `${String(i).padStart(5, '0')}.png`);
    if (existsSync(file)) continue;
    const { steps, guidance } = samples;
    const request = { prompt: prior.prompt, seed: i, height: size, width: size, steps, guidance };
    const { images } = await pipeline.generate(request, { signal });
    await writePng(file, images[0]!);
    onMade(i + 1, prior.count);
  }
}

/** Batches of prior pictures, as many as of the others. */
export async function priorBatches(
  folder: string,
  { data, batchSize, seed }: StableDiffusionTask,
): Promise<TrainingBatches> {
  const { size, threads } = data as { readonly size: number; readonly threads: number };
  const set = await openDataset(folder, { folderClasses: 'never' });
  if (set.examples.length < batchSize) {
    throw new InvalidArgumentError('prior', `${folder} has ${set.examples.length} pictures, a batch needs ${batchSize}`);
  }
  return exampleStream(set, { batchSize, seed: seed + 1, size, channels: 3, threads });
}
