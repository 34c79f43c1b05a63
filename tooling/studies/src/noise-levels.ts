import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, type DiffusionModel, openDiffusionModel } from '@mezzotint/app';
import { InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import { type LatentBatch, latentStream } from '@mezzotint/data';
import { conditionsOf, diskFiles, openTextEncoder } from '@mezzotint/pipelines/node';
import type { CaptionEncoder } from '@mezzotint/text-encoders';
import { flowLoss } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { writeJson } from './files.js';

/** The flags of `study noise-levels`. */
export interface NoiseLevelsFlags {
  /** Runs or models: flows on latent images that read texts. */
  readonly models: readonly string[];
  /** The folder of `train encode`. */
  readonly latents: string;
  readonly out: string;
  readonly seed: number;
  readonly count: number;
  readonly levels: readonly number[];
}

/** Latent images that the network sees at once. */
const BATCH = 64;

/** Whose caption the network is given. */
const CAPTIONS = ['own', 'other', 'none'] as const;

/**
 * The loss of a flow at single noise levels, given the caption of the picture, that of another, and none: at which levels the words matter, and
 * how far the network knows by heart what they mean. Where a caption names one picture, a network that knew it would have no loss given it.
 */
export async function runNoiseLevels(
  { models, latents, out, seed, count, levels }: NoiseLevelsFlags,
  { say, result, signal }: CommandContext,
): Promise<void> {
  mkdirSync(out, { recursive: true });
  const stream = latentStream(latents, { batchSize: BATCH, seed });
  const batches: LatentBatch[] = [];
  while (batches.length * BATCH < count) batches.push(await stream.next());
  await stream.close();
  const rows: Record<string, string | number>[] = [];
  for (const path of models) {
    const model = await openDiffusionModel(path);
    const encoders = await textEncodersOf(model);
    const { process } = model.config;
    if (process.kind !== 'flow') throw new InvalidArgumentError(path, `expected a flow, got a ${process.kind} process`);
    for (const level of levels) {
      signal.throwIfAborted();
      const losses = CAPTIONS.map((whose) => {
        const rng = new TorchGenerator(seed); // the same noise for all three
        const each = batches.map((batch) => meanLoss(model, encoders, batch, level, process.timeScale, whose, rng));
        return each.reduce((sum, loss) => sum + loss, 0) / each.length;
      });
      const named = Object.fromEntries(CAPTIONS.map((whose, i) => [whose, losses[i]!]));
      rows.push({ model: path, level, ...named });
      say(`${path}, level ${level}: ${CAPTIONS.map((whose, i) => `${whose} ${losses[i]!.toFixed(3)}`).join(', ')}`);
    }
    for (const parameter of model.model.params().values()) parameter.variable.dispose();
  }
  writeJson(join(out, 'noise-levels.json'), { latents, seed, pictures: batches.length * BATCH, rows });
  result({ rows });
}

/** The text encoders beside a model, with their weights. */
async function textEncodersOf({ path, config }: DiffusionModel): Promise<CaptionEncoder[]> {
  if (config.text === undefined) throw new InvalidArgumentError(path, 'expected a model that reads texts');
  const files = diskFiles(path);
  return Promise.all(
    config.text.encoders.map(async ({ folder, length, skip }) => {
      const { encoder, tokenizer, weights, close } = await openTextEncoder(files, folder);
      try {
        await encoder.load(weights);
      } finally {
        close();
      }
      return { encoder, tokenizer, length, skip };
    }),
  );
}

/** Mean loss of a batch at one level. */
function meanLoss(
  { model, signature }: DiffusionModel,
  encoders: readonly CaptionEncoder[],
  { images, shape, captions }: LatentBatch,
  level: number,
  timeScale: number,
  whose: (typeof CAPTIONS)[number],
  rng: TorchGenerator,
): number {
  return tf.tidy(() => {
    const own = whose === 'own' ? 0 : 1;
    const texts = captions.map((_, i) => (whose === 'none' ? null : captions[(i + own) % captions.length]!));
    const cond = conditionsOf(
      signature,
      encoders,
      encoders.map(() => texts),
    );
    const levels = captions.map(() => ({ alpha: 1 - level, sigma: level, time: timeScale * level }));
    const net = (x: tf.Tensor4D, time: tf.Tensor1D) => model.forward(x, time, cond);
    const losses = flowLoss(net, { x0: tf.tensor4d(images, [...shape]), cond }, rng, { levels: () => levels });
    return tf.mean(losses).dataSync()[0]!;
  });
}
