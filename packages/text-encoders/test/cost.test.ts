import { describe as costOf } from '@mezzotint/core';
import { expect, test } from 'vitest';
import { presets } from '../src/index.js';

// G of multiply-adds of the published models, as counted on the reference implementation. Half a percent: the counts
// agree to the digits that are printed.
test.each([
  ['clip-vit-l-14-text', 6.65],
  ['openclip-vit-bigg-14-text', 48.93],
  ['t5-v1_1-xxl-encoder', 1198.3],
])('multiply-adds of %s', (name, gmacs) => {
  const preset = presets.find((preset) => preset.name === name)!;
  const { macs } = costOf(preset.build(), preset.inputs());
  expect(Math.abs(macs / 1e9 / gmacs - 1)).toBeLessThan(0.005);
});

test('a layer of CLIP by hand: 4 D^2 + 2 D M for each token, 2 T^2 D for attention', () => {
  const preset = presets.find(({ name }) => name === 'openclip-vit-h-14-text')!;
  const { macs } = costOf(preset.build(), preset.inputs());
  const [t, d, m, layers] = [77, 1024, 4096, 23];
  expect(macs).toBe(layers * (t * (4 * d * d + 2 * d * m) + 2 * t * t * d));
});
