import { useBackend } from '@mezzotint/backend';
import { samplerFromProcess } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { type Family, type ModelFiles, openPipelineFiles } from '../src/index.js';

beforeAll(() => useBackend({ engine: 'cpu' }));

/** A model of a folder whose config.json says `gaussian`: data N(mean, 0.5^2), whose denoiser is exact. */
const gaussian: Family = {
  name: 'Gaussian data',
  recognise: ({ config }) => config?.format === 'gaussian',
  async open({ files, config }) {
    const means = config!.means as number[];
    const [size, channels] = [4, 3];
    return {
      family: this.name,
      description: `${files.name}: ${means.length} means`,
      classes: means.map((_, i) => `mean ${i}`),
      takes: ['labels'],
      defaults: { height: size, width: size, steps: 20 },
      parts: [],
      stages: [
        {
          name: 'gaussian',
          sampler: samplerFromProcess(
            { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 },
            { solver: 'heun', limit: { kind: 'clip', range: 4 } },
          ),
          codec: null,
          parts: { encode: [], sample: [] },
          start: 'noise',
          shape: ({ height, width }) => [height, width, channels],
          encode: ({ images }) => {
            const mean = tf.tensor4d(
              images.map(({ label }) => means[label!]!),
              [images.length, 1, 1, 1],
            );
            return { positive: { mean }, negative: null };
          },
          // D(x; s) = mean + (x - mean) 0.25 / (0.25 + s^2) = c_skip x + c_out F, with EDM's c_out = 0.5 s / sqrt(0.25 + s^2),
          // is F = mean s / (0.5 sqrt(0.25 + s^2)); the time is log(s) / 4.
          network:
            () =>
            (x, time, { mean }) =>
              tf.tidy(() => {
                const s = Math.exp(4 * time.dataSync()[0]!);
                return tf.mul(tf.onesLike(x), tf.mul(mean!, s / (0.5 * Math.sqrt(0.25 + s * s)))) as tf.Tensor4D;
              }),
        },
      ],
      close: () => {},
    };
  },
};

test('a family that a test adds makes pictures: one record', async () => {
  const model: ModelFiles = {
    name: 'here',
    kind: 'folder',
    has: (path) => path === 'config.json',
    text: async () => '',
    json: async () => ({ format: 'gaussian', means: [-0.5, 0.5] }),
    weights: () => Promise.reject(new Error('has no weights')),
  };
  const pipeline = await openPipelineFiles(model, {}, { files: () => model, families: [gaussian] });
  const { images } = await pipeline.generate({ labels: 'mean 1,0', count: 8, batch: 4 });
  const means = images.map(({ data }) => data.reduce((sum, value) => sum + value / 127.5 - 1, 0) / data.length);
  // The deviation of a picture's mean is 0.5 / sqrt(48) = 0.07; bytes clip the tails to [-1, 1], which pulls it by 0.04.
  means.forEach((mean, i) => {
    expect(Math.abs(mean - (i < 8 ? 0.5 : -0.5))).toBeLessThan(0.3);
  });
  await expect(pipeline.check({ prompt: 'a cat' })).rejects.toThrowError(
    /prompt: Gaussian data does not take it; it takes labels/,
  );
  await expect(openPipelineFiles(model, {}, { files: () => model, families: [] })).rejects.toThrowError(
    /has a config.json of gaussian, which no family can open/,
  );
  pipeline.dispose();
});
