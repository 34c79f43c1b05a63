import { useBackend } from '@mezzotint/backend';
import { TorchGenerator } from '@mezzotint/core';
import { augmentationLevel } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { augmentLowResolution } from '../src/index.js';

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));

const small = () => tf.zeros([2, 32, 32, 3]) as tf.Tensor4D;
const size = { height: 64, width: 64 };

describe('noise-conditioning augmentation', () => {
  test('gaussian noise comes after the resize, truncated noise before it', () => {
    // Of zeros only the noise is left: sigma for each pixel, or what bilinear resizing leaves of its variance.
    const variance = (kind: 'gaussian' | 'truncated') => {
      const rng = new TorchGenerator(1);
      const { lowRes, lowResTime } = augmentLowResolution(small(), size, rng, { kind, most: 1000, time: 'timestep' });
      const ratio = (i: number) => {
        const { sigma } = augmentationLevel(lowResTime.arraySync()[i]!, 'timestep');
        return (tf.moments(tf.slice(lowRes, i, 1)).variance.arraySync() as number) / sigma ** 2;
      };
      return [ratio(0), ratio(1)];
    };
    // 12,288 numbers: a deviation of 1.3 % of the variance.
    for (const ratio of variance('gaussian')) expect(Math.abs(ratio - 1)).toBeLessThan(0.06);
    // Each axis takes 1/4 and 3/4 of two neighbours: (1/16 + 9/16)^2.
    for (const ratio of variance('truncated')) expect(Math.abs(ratio - (10 / 16) ** 2)).toBeLessThan(0.06);
  });

  test('levels are drawn up to the most, and told as the network takes them', () => {
    const levels = (time: 'timestep' | 'log-snr', most: number) =>
      augmentLowResolution(tf.zeros([64, 1, 1, 1]), { height: 1, width: 1 }, new TorchGenerator(2), {
        kind: 'gaussian',
        ...{ most, time },
      }).lowResTime.arraySync();
    const times = levels('timestep', 300);
    expect(Math.max(...times)).toBeLessThanOrEqual(300);
    expect(Math.max(...times)).toBeGreaterThan(250);
    levels('log-snr', 300).forEach((logSnr, i) => {
      expect(logSnr).toBeCloseTo(-2 * Math.log(Math.tan((Math.PI * times[i]!) / 2000)), 1);
    });
    expect(augmentationLevel(0, 'timestep')).toEqual({ alpha: 1, sigma: 0, time: 0 });
    expect(() => augmentationLevel(1001, 'timestep')).toThrow(/expected a level from 0 to 1000, got 1001/);
  });
});
