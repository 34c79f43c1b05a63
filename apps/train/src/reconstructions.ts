import type { AnyAutoencoder } from '@mezzotint/app';
import { codebookUsage, l1Loss, VQModel } from '@mezzotint/autoencoders';
import { type ImageSet, toBytes, toFloat, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import * as tf from '@tensorflow/tfjs-core';

/** Images in a grid of reconstructions, and their columns. */
const shown = 32;
const columns = 8;

/** Writes a grid, each row of images above its reconstructions; gives the L1 distance and how much of a codebook is used. */
export async function reconstruct(
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
