import { expect, test } from 'vitest';
import { AutoencoderKL, autoencoderKLFromShapes, vaeSd, vaeSd3 } from '../src/index.js';
import { readJson } from './support/golden.js';

const tensorsOf = (shapes: Record<string, number[]>) =>
  new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: 'F16' }]));

test.each([
  ['vae-4ch', vaeSd],
  ['vae-16ch', vaeSd3],
])('%s: the configuration read off the shapes is the published one', (name, preset) => {
  const { tensors } = readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`);
  const published = preset.build().config;
  const config = autoencoderKLFromShapes(tensorsOf(tensors), published);
  expect(config).toEqual(published);
  const ours = [...new AutoencoderKL(config).params()].map(([key, param]) => [key, [...param.fileShape]]);
  expect(ours).toEqual(Object.entries(tensors));
});

test('a state dict of something else is refused by what is missing', () => {
  const scale = { scalingFactor: 1, shiftFactor: 0 };
  expect(() => autoencoderKLFromShapes(tensorsOf({ 'encoder.conv_in.weight': [8, 3, 3, 3] }), scale)).toThrow(
    /decoder.conv_out.weight: expected a tensor with an axis 0, got none/,
  );
});
