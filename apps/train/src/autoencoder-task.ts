import { join } from 'node:path';
import { type AnyAutoencoder, type AutoencoderModelConfig, autoencoderOf, openImages } from '@mezzotint/app';
import {
  AutoencoderKL,
  codebookUsage,
  klLoss,
  l1Loss,
  l2Loss,
  presets,
  sampleGaussian,
  VQModel,
  vqLoss,
} from '@mezzotint/autoencoders';
import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';
import { type ImageSet, imageGrid, toBytes, toFloat, writePng } from '@mezzotint/data';
import * as tf from '@tensorflow/tfjs-core';
import type { AutoencoderTask } from './config.js';
import type { Task, TaskData } from './task.js';

const distances = { l1: l1Loss, l2: l2Loss } as const;

/** Images in a grid of reconstructions, and their columns. */
const shown = 32;
const columns = 8;

/** An autoencoder of any kind, by its reconstruction and what keeps its latent images in order. */
export async function autoencoderTask(config: AutoencoderTask, { images, source }: TaskData): Promise<Task> {
  const { architecture } = config;
  const model = autoencoderOf({ architecture, network: networkOf(config) });
  checkImages(model, images);
  if (config.regularisation !== undefined && !(model instanceof AutoencoderKL || model instanceof VQModel)) {
    throw new InvalidArgumentError('regularisation', `${architecture} has no term that it weighs; leave it out`);
  }
  const heldOut =
    source.kind === 'digits' && source.part === 'train' ? await openImages({ ...source, part: 'held-out' }) : images;
  const modelConfig: AutoencoderModelConfig = {
    format: 'mezzotint/autoencoder@1',
    architecture,
    network: model.config as unknown as Record<string, unknown>,
    image: { size: images.height, channels: images.channels },
  };
  return {
    model,
    modelConfig,
    loss: ({ images: pixels, shape }, rng) =>
      tf.tidy(() => lossOf(model, config, tf.tensor4d(pixels, [...shape]), rng)),
    async report(step, folder, signal) {
      signal.throwIfAborted();
      const file = join(folder, `step-${String(step).padStart(7, '0')}.png`);
      return reconstruct(model, heldOut, file);
    },
  };
}

/** The mean distance to the reconstruction, and for a KL or a VQ autoencoder its second term. */
function lossOf(model: AnyAutoencoder, config: AutoencoderTask, x: tf.Tensor4D, rng: RandomStream): tf.Scalar {
  const distance = distances[config.reconstruction];
  if (model instanceof AutoencoderKL) {
    const gaussian = model.encode(x);
    const y = model.decode(sampleGaussian(gaussian, rng));
    const kl = klLoss(gaussian, x.size / x.shape[0]);
    return tf.add(distance(y, x), tf.mul(kl, config.regularisation ?? 1e-6));
  }
  if (model instanceof VQModel) {
    const z = model.encode(x);
    const codes = model.quantize.lookup(model.quantize.nearest(z));
    const commitment = config.regularisation ?? 0.25;
    return tf.add(distance(model.decode(z), x), vqLoss(z, codes, { commitment }));
  }
  return distance(model.forward(x), x);
}

/** Writes a grid, each row of images above its reconstructions; gives the L1 distance and how much of a codebook is used. */
async function reconstruct(
  model: AnyAutoencoder,
  set: ImageSet,
  file: string,
): Promise<Readonly<Record<string, number>>> {
  const { height, width, channels } = set;
  const size = height * width * channels;
  const count = Math.min(shown, set.count);
  const before = set.images.subarray(0, count * size);
  const shape: [number, number, number, number] = [count, height, width, channels];
  const x = tf.tensor4d(toFloat(before), shape);
  const { y, error } = tf.tidy(() => {
    const y = model.forward(x);
    return { y, error: l1Loss(y, x) };
  });
  try {
    await writePairs(file, set, before, toBytes((await y.data()) as Float32Array), count);
    const usage = model instanceof VQModel ? await usageOf(model, x) : {};
    return { reconstructionL1: (await error.data())[0]!, ...usage };
  } finally {
    tf.dispose([x, y, error]);
  }
}

/** How much of its codebook a model uses for images. */
async function usageOf(model: VQModel, x: tf.Tensor4D): Promise<Readonly<Record<string, number>>> {
  const indices = tf.tidy(() => model.quantize.nearest(model.encode(x)));
  const { used, perplexity } = codebookUsage((await indices.data()) as Int32Array, model.config.codes);
  indices.dispose();
  return { codesUsed: used, codePerplexity: perplexity };
}

/** A grid in which a row of the images `before` stands above the same images `after`. */
async function writePairs(
  file: string,
  { height, width, channels }: ImageSet,
  before: Uint8Array,
  after: Uint8Array,
  count: number,
): Promise<void> {
  const rows: Uint8Array[] = [];
  for (let first = 0; first < count; first += columns) {
    const inRow = Math.min(columns, count - first);
    for (const side of [before, after]) rows.push(padded(side, first, inRow, height * width * channels));
  }
  const pictures = { images: Buffer.concat(rows), count: rows.length * columns, height, width, channels };
  const grid = imageGrid(pictures, { columns, scale: height < 64 ? 2 : 1 });
  await writePng(file, grid, { overwrite: true });
}

/** `count` images from `first` on, with black ones up to a whole row. */
function padded(images: Uint8Array, first: number, count: number, size: number): Uint8Array {
  const row = new Uint8Array(columns * size);
  row.set(images.subarray(first * size, (first + count) * size));
  return row;
}

/** The network's configuration, from a preset's name or as given. */
function networkOf({ architecture, network }: AutoencoderTask): Record<string, unknown> {
  if (typeof network !== 'string') return network;
  const ofClass = presets.filter((preset) => preset.build().constructor.name === architecture);
  const preset = ofClass.find(({ name }) => name === network);
  if (preset === undefined) {
    const known = ofClass.map(({ name }) => name).join(', ') || 'none';
    throw new InvalidArgumentError('network', `expected a preset of ${architecture} (${known}), got '${network}'`);
  }
  return preset.build().config as unknown as Record<string, unknown>;
}

function checkImages({ config, downscale }: AnyAutoencoder, { height, width, channels }: ImageSet): void {
  const problems: string[] = [];
  for (const name of ['inChannels', 'outChannels'] as const) {
    if (config[name] !== channels) problems.push(`${name} is ${config[name]}, the data needs ${channels}`);
  }
  if (height !== width) problems.push(`images must be square, got ${height} x ${width}`);
  if (height % downscale !== 0) problems.push(`it needs a side that ${downscale} divides, the data has ${height}`);
  if (problems.length > 0) throw new InvalidArgumentError('network', problems);
}
