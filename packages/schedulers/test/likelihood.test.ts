import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { convertSchedule, karrasSigmas, logLikelihood, sigmaSchedule, torchNoise } from '../src/index.js';

const DATA = 0.25;
const MIN = 0.02;
const gaussian: Denoiser = (x, { alpha, sigma }) =>
  tf.tidy(() => tf.mul<tf.Tensor4D>(x, (alpha * DATA) / (sigma ** 2 + alpha ** 2 * DATA)));

describe.each(await testEngines())('on %s, likelihood of Gaussian data', (engine) => {
  beforeAll(() => switchTo(engine));

  const images = () => tf.tensor4d([0.1, -0.4, 0.9, 0.2, 1.5, -0.7, 0, 0.3], [2, 2, 2, 1]);

  /** log N(x; 0, s^2 + min^2), for each image of 4 numbers. */
  function exactLog(values: ArrayLike<number>): number[] {
    const variance = DATA + MIN ** 2;
    return [0, 1].map((n) => {
      const square = [0, 1, 2, 3].reduce((sum, i) => sum + values[4 * n + i]! ** 2, 0);
      return -2 * Math.log(2 * Math.PI * variance) - square / (2 * variance);
    });
  }

  test('the exact value, to second order in the steps', async () => {
    const x = images();
    const before = tf.memory().numTensors;
    const errors: number[] = [];
    for (const steps of [80, 160]) {
      const table = sigmaSchedule(karrasSigmas({ steps, min: MIN, max: 100 }));
      const {
        logLikelihood: got,
        bitsPerDimension,
        latent,
      } = await logLikelihood(gaussian, x, table, undefined, {
        noise: torchNoise(1),
      });
      errors.push(Math.max(...exactLog(x.dataSync()).map((e, i) => Math.abs(got[i]! - e))));
      expect(bitsPerDimension[0]).toBeCloseTo(-got[0]! / (4 * Math.LN2), 12);
      latent.dispose();
    }
    // The estimate is linear, so that a probe of signs gives the trace exactly; the rest is Heun's error.
    expect(errors[1]).toBeLessThan(0.02);
    expect(Math.log2(errors[0]! / errors[1]!)).toBeGreaterThan(1.7);
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });

  test('a VP table gives the density of the VP picture', async () => {
    const x = images();
    const ve = sigmaSchedule(karrasSigmas({ steps: 60, min: MIN, max: 100 }));
    const a = await logLikelihood(gaussian, x, ve, undefined, { noise: torchNoise(1) });
    const table = convertSchedule(ve, 'vp');
    const alpha = table.alpha[59]!;
    const scaled = tf.mul<tf.Tensor4D>(x, alpha);
    const b = await logLikelihood(gaussian, scaled, table, undefined, { noise: torchNoise(1), probes: 2 });
    // p_vp(alpha x) = p_ve(x) / alpha^4; float32 values of the same run.
    a.logLikelihood.forEach((v, i) => {
      expect(Math.abs(b.logLikelihood[i]! - (v - 4 * Math.log(alpha)))).toBeLessThan(1e-3);
    });
    tf.dispose([x, scaled, a.latent, b.latent]);
  });

  test('stops when aborted', async () => {
    const x = images();
    const table = sigmaSchedule(karrasSigmas({ steps: 4, min: MIN, max: 100 }));
    const going = logLikelihood(gaussian, x, table, undefined, {
      noise: torchNoise(1),
      signal: AbortSignal.abort(new Error('enough')),
    });
    const before = tf.memory().numTensors;
    await expect(going).rejects.toThrow('enough');
    expect(tf.memory().numTensors).toBeLessThanOrEqual(before);
    x.dispose();
  });
});
