import { expect, test } from 'vitest';
import { clipTextFromShapes, clipTextL14, openClipTextBigG14, openClipTextH14 } from '../src/index.js';
import { readJson } from './support/golden.js';

const tensorsOf = (shapes: Iterable<readonly [string, readonly number[]]>) =>
  new Map([...shapes].map(([name, shape]) => [name, { shape, dtype: 'F16' }]));
const manifest = (name: string, prefix = '') =>
  Object.entries(readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`).tensors).map(
    ([key, shape]) => [prefix + key, shape] as const,
  );

test.each([
  ['CLIP ViT-L/14', manifest('clip-l', 'text_model.'), 'quick', clipTextL14],
  ['OpenCLIP ViT-bigG/14', manifest('openclip-bigg'), 'erf', openClipTextBigG14],
  [
    'OpenCLIP ViT-H/14 without its last layer',
    [...openClipTextH14.build().params()].map(([name, param]) => [name, param.fileShape] as const),
    'erf',
    openClipTextH14,
  ],
] as const)('%s: the configuration read off the shapes is the published one', (_, tensors, activation, preset) => {
  expect(clipTextFromShapes(tensorsOf(tensors), activation)).toEqual(preset.build().config);
});

test('a state dict of something else is refused by what is missing', () => {
  expect(() => clipTextFromShapes(tensorsOf([['a', [1]]]), 'quick')).toThrow(
    /token_embedding.weight: expected a tensor/,
  );
});
