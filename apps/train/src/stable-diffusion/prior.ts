import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startProgress } from '@mezzotint/app';
import { deriveSeed, InvalidArgumentError } from '@mezzotint/core';
import { type BatchShare, exampleStream, openDataset, writePng } from '@mezzotint/data';
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
  signal: AbortSignal,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { size } = data as { readonly size: number };
  const all = Array.from(
    { length: prior.count },
    (_, i) => [i, join(folder, `${String(i).padStart(5, '0')}.png`)] as const,
  );
  const missing = all.filter(([, file]) => !existsSync(file));
  if (missing.length === 0) return;
  const progress = startProgress('Pictures of the class', prior.count, prior.count - missing.length);
  try {
    for (const [at, [seed, file]] of missing.entries()) {
      const { steps, guidance } = samples;
      const request = { prompt: prior.prompt, seed, height: size, width: size, steps, guidance };
      const { images } = await pipeline.generate(request, { signal });
      await writePng(file, images[0]!);
      progress.update(prior.count - missing.length + at + 1, prior.count, prior.prompt);
    }
  } finally {
    progress.stop();
  }
}

/** Batches of prior pictures, as many as of the others. */
export async function priorBatches(
  folder: string,
  { data, batchSize, seed }: StableDiffusionTask,
  share?: BatchShare,
): Promise<TrainingBatches> {
  const { size, threads } = data as { readonly size: number; readonly threads: number };
  const set = await openDataset(folder, { folderClasses: 'never' });
  if (set.examples.length < batchSize) {
    throw new InvalidArgumentError(
      'prior',
      `${folder} has ${set.examples.length} pictures, a batch needs ${batchSize}`,
    );
  }
  return exampleStream(set, {
    batchSize,
    seed: deriveSeed(seed, 'prior'),
    size,
    channels: 3,
    threads,
    ...(share && { share }),
  });
}
