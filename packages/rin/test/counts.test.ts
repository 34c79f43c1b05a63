import { describe as costOf } from '@mezzotint/core';
import { expect, test } from 'vitest';
import * as rin from '../src/index.js';

// Parameters and G of multiply-adds, counted on the official class (CIFAR-10, ImageNet-64) and by the arithmetic that equals
// it. The paper prints 320 M at 512 pixels and 410 M at 128 and 256.
const counted = {
  'rin-cifar10': [30_951_180, 4.297],
  'rin-imagenet64': [157_780_160, 19.61],
  'rin-imagenet128': [395_649_584, 69.6],
  'rin-imagenet256': [395_928_256, 121.5],
  'rin-imagenet512': [320_606_400, 170.726],
  'rin-imagenet1024': [326_897_856, 443.7],
} as const;

test.each(Object.entries(counted))('%s', (name, [parameters, gmacs]) => {
  const preset = rin.presets.find((preset) => preset.name === name)!;
  const cost = costOf(preset.build(), preset.inputs());
  // Sums of whole numbers: no tolerance.
  expect([cost.parameters, cost.trainable]).toEqual([parameters, parameters]);
  // Printed with three or four digits.
  expect(Math.abs(cost.macs / 1e9 / gmacs - 1)).toBeLessThan(0.001);
});

test('presets have one name each, and all are listed', () => {
  const exported = Object.values(rin).filter((value) => typeof value === 'object' && 'inputs' in value);
  expect(new Set(rin.presets)).toEqual(new Set(exported));
  expect(rin.presets.map(({ name }) => name)).toEqual(Object.keys(counted));
});
