import { describe as costOf, type ModelCost } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { type AutoencoderKL, type AutoencoderTiny, presets, taesd, taesd3, vaeFlux, vaeSd } from '../src/index.js';

type Coder = AutoencoderKL | AutoencoderTiny;
const encode = (model: Coder, size: number): ModelCost =>
  costOf(model, [{ shape: [1, size, size, 3] }], (m, [x]) => m.encode(x!));
const decode = (model: Coder, size: number): ModelCost =>
  costOf(model, [{ shape: [1, size / 8, size / 8, model.config.latentChannels] }], (m, [z]) => m.decode(z!));

describe('multiply-adds', () => {
  // G of multiply-adds as counted on the reference implementation. Half a percent: what a counter may add for norms.
  test.each([
    ['vae-sd, decode 512x512', decode(vaeSd.build(), 512), 1257.26],
    ['vae-sd, encode 512x512', encode(vaeSd.build(), 512), 558.33],
    ['vae-flux, decode 1024x1024', decode(vaeFlux.build(), 1024), 5236.1],
    ['vae-flux, encode 1024x1024', encode(vaeFlux.build(), 1024), 2441.29],
    ['taesd, decode 512x512', decode(taesd.build(), 512), 70.68],
    ['taesd3, decode 1024x1024', decode(taesd3.build(), 1024), 282.81],
  ])('%s', (_, { macs }, reference) => {
    expect(Math.abs(macs / 1e9 / reference - 1)).toBeLessThan(0.005);
  });

  test('every preset can be described, ours for digits within what a CPU trains in an hour', () => {
    for (const preset of presets) {
      const { macs } = costOf(preset.build(), preset.inputs());
      expect(macs).toBeGreaterThan(1e6);
      if (preset.name.startsWith('digits')) expect(macs).toBeLessThan(60e6);
    }
  });
});
