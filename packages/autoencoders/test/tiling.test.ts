import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AutoencoderKL, AutoencoderTiny, decodeTiled, encodeTiled } from '../src/index.js';
import { spansOf } from '../src/tiling.js';
import { relativeError } from './support/golden.js';
import { noise, randomise, tinyKL, tinyTiny } from './support/tiny.js';

describe('spans', () => {
  const sides = [
    [7, { tile: 8, overlap: 2, margin: 0 }],
    [8, { tile: 8, overlap: 2, margin: 0 }],
    [9, { tile: 8, overlap: 4, margin: 1 }],
    [31, { tile: 8, overlap: 3, margin: 1 }],
    [31, { tile: 10, overlap: 8, margin: 3 }],
    [128, { tile: 64, overlap: 16, margin: 4 }],
  ] as const;
  test.each(sides)('of %i with %o cover the side once, by equal tiles that share enough', (length, tiling) => {
    for (const zoom of [1, 8]) {
      const spans = spansOf(length, tiling, zoom);
      const total = new Float64Array(length * zoom);
      for (const { start, size, weights } of spans) {
        expect(size).toBe(Math.min(tiling.tile, length));
        expect(weights.length).toBe(size * zoom);
        weights.forEach((weight, p) => {
          expect(weight).toBeGreaterThanOrEqual(0);
          total[start * zoom + p]! += weight;
        });
      }
      // Weights are rounded to float32.
      for (const sum of total) expect(Math.abs(sum - 1)).toBeLessThan(1e-6);
      spans.slice(1).forEach((span, i) => {
        expect(spans[i]!.start + spans[i]!.size - span.start).toBeGreaterThanOrEqual(tiling.overlap);
        // The margin of a tile that has a neighbour counts for nothing.
        expect(span.weights.slice(0, tiling.margin * zoom).every((weight) => weight === 0)).toBe(true);
      });
    }
  });
});

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('tiles of a model that only sees its surroundings are the whole: TAESD', async () => {
    const model = new AutoencoderTiny(tinyTiny);
    await randomise(model, 1, 0.4);
    const z = noise([1, 24, 30, 3]);
    const before = tf.memory().numTensors;
    // 4 convolutions at the latent size, the one at twice the size and 4 more: no pixel sees 7 latent pixels away.
    const tiled = decodeTiled(model, z, { tile: 20, overlap: 9 + 7, margin: 7 });
    expect(tf.memory().numTensors).toBe(before + 1);
    const whole = model.decode(z);
    // Only the weights' float32 rounding is between them.
    expect(relativeError(tiled.dataSync(), whole.dataSync())).toBeLessThan(1e-6);
    const butt = decodeTiled(model, z, { tile: 16, overlap: 1, margin: 0 });
    expect(relativeError(butt.dataSync(), whole.dataSync())).toBeGreaterThan(1e-3);
    tf.dispose([z, tiled, whole, butt]);
    model.dispose();
  });

  test('tiles of a KL autoencoder leave no seam, and come near the whole', async () => {
    const model = new AutoencoderKL(tinyKL);
    await randomise(model, 3);
    const z = noise([1, 40, 24, 3]);
    const whole = model.decode(z);
    const soft = decodeTiled(model, z, { tile: 20, overlap: 10, margin: 2 });
    // GroupNorm and attention see a tile and not the whole, whose statistics differ a little: 400 pixels of noise a
    // tile know a mean to 5 %, so a few percent are left; without norms and attention the test above is exact.
    expect(relativeError(soft.dataSync(), whole.dataSync())).toBeLessThan(0.2);
    // A seam would show as a step between rows that the whole does not have there.
    const excess = (tiled: tf.Tensor4D, row: number) => stepAt(tiled, row) / stepAt(whole, row);
    for (let row = 21; row < 40; row++) expect(Math.abs(excess(soft, row) - 1)).toBeLessThan(0.1);
    // Tiles that hardly overlap do have one: the bound above is not blind.
    const hard = decodeTiled(model, z, { tile: 20, overlap: 1, margin: 0 });
    const rows = Array.from({ length: 79 }, (_, i) => Math.abs(excess(hard, i + 1) - 1));
    expect(Math.max(...rows)).toBeGreaterThan(0.15);
    tf.dispose([z, whole, soft, hard]);
    model.dispose();
  });

  test('encoding in tiles gives a Gaussian of the same shape, near the whole, and nothing else', async () => {
    const model = new AutoencoderKL(tinyKL);
    await randomise(model, 3);
    const x = noise([1, 64, 48, 2]);
    const whole = model.encode(x);
    const before = tf.memory().numTensors;
    const tiled = encodeTiled(model, x, { tile: 20, overlap: 10 });
    expect(tf.memory().numTensors).toBe(before + 2);
    expect(tiled.mean.shape).toEqual([1, 32, 24, 3]);
    for (const part of ['mean', 'logvar'] as const) {
      expect(relativeError(tiled[part].dataSync(), whole[part].dataSync())).toBeLessThan(0.1);
    }
    tf.dispose([x, whole, tiled]);
    model.dispose();
  });
});

/** Mean absolute difference between a row of pixels and the one before. */
function stepAt(image: tf.Tensor4D, row: number): number {
  return tf.tidy(() => {
    const rows = [row - 1, row].map((at) => tf.slice(image, [0, at, 0, 0], [-1, 1, -1, -1]));
    return tf.mean(tf.abs(tf.sub(rows[1]!, rows[0]!))).dataSync()[0]!;
  });
}

describe('refusals', () => {
  beforeEach(() => switchTo('cpu'));

  test('options that do not fit each other are named at once', () => {
    const model = new AutoencoderTiny(tinyTiny).init(0);
    const z = noise([1, 8, 8, 3]);
    const before = tf.memory().numTensors;
    expect(() => decodeTiled(model, z, { tile: 8, overlap: 8, margin: 4 })).toThrow(InvalidArgumentError);
    expect(() => decodeTiled(model, z, { tile: 8, overlap: 8, margin: 4 })).toThrow(/overlap: .*\n.*margin:/);
    expect(() => encodeTiled(new AutoencoderKL(tinyKL), noise([1, 7, 8, 2]))).toThrow(/that 2 divides/);
    expect(tf.memory().numTensors).toBe(before + 1);
  });
});
