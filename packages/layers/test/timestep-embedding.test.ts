import { readFileSync } from 'node:fs';
import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { FourierEmbedding, GaussianFourierProjection, timestepEmbedding } from '../src/index.js';

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8')) as {
    times: number[];
    dim: number;
    embedding: number[][];
  };
const golden = fixture('timestep-embedding');
const large = fixture('timestep-embedding-large');

const engines = await testEngines();

describe.each(engines)('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  const rows = (f: () => tf.Tensor2D) => tf.tidy(() => f().arraySync());
  // cos and sin of an angle near 1000 in float32: the angle is off by up to 1000 * 6e-8.
  const near = (got: number[][], want: number[][]) =>
    got.forEach((row, i) => {
      row.forEach((value, j) => {
        expect(Math.abs(value - want[i]![j]!)).toBeLessThan(1e-4);
      });
    });

  test("equals DiT's", () => {
    near(
      rows(() => timestepEmbedding(tf.tensor1d(golden.times), golden.dim)),
      golden.embedding,
    );
  });

  test('large inputs, such as the guidance of FLUX times 1000, meet frequencies that were rounded as the references round', () => {
    const got = rows(() => timestepEmbedding(tf.tensor1d(large.times), large.dim));
    // Angles are equal bits, sine and cosine are each engine's. With exact frequencies 2.1e-4 at 30000, 9e-5 at 7000.
    for (const [i, row] of got.entries()) {
      for (const [j, value] of row.entries()) expect(Math.abs(value - large.embedding[i]![j]!)).toBeLessThan(5e-6);
    }
  });

  test('every option is what it says', () => {
    const t = 3;
    const half = 3;
    const f = (i: number) => 100 ** (-i / (half - 1));
    const want = [0, 1, 2]
      .map((i) => Math.sin(2 * t * f(i)))
      .concat(
        [0, 1, 2].map((i) => Math.cos(2 * t * f(i))),
        0,
      );
    const options = { maxPeriod: 100, order: 'sin-cos', downscaleShift: 1, scale: 2 } as const;
    near(
      rows(() => timestepEmbedding(tf.tensor1d([t]), 7, options)),
      [want],
    );
  });

  test('Fourier features are waves of the stored frequencies', async () => {
    const angles = [0.25, -0.5].map((f) => 2 * Math.PI * 0.3 * f);
    const waves = (f: (x: number) => number) => angles.map((angle) => f(angle));
    const edm = await new FourierEmbedding(4).load({ freqs: { shape: [2], data: new Float32Array([0.25, -0.5]) } });
    const sde = await new GaussianFourierProjection(4).load({
      W: { shape: [2], data: new Float32Array([0.25, -0.5]) },
    });
    near(
      rows(() => edm.forward(tf.tensor1d([0.3]))),
      [[...waves(Math.cos), ...waves(Math.sin)]],
    );
    near(
      rows(() => sde.forward(tf.tensor1d([0.3]))),
      [[...waves(Math.sin), ...waves(Math.cos)]],
    );
    for (const module of [edm, sde]) {
      expect([...module.params().values()].map((param) => param.trainable)).toEqual([false]);
      module.dispose();
    }
  });
});

test('a width without a frequency is refused', () => {
  expect(() => timestepEmbedding(tf.tensor1d([1]), 2, { downscaleShift: 1 })).toThrow(InvalidArgumentError);
});
