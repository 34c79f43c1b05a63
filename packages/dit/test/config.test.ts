import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { DiT, type DiTConfig, ditFromDiffusers, ditFromOriginal, ditXl2 } from '../src/index.js';
import { tinyDiT } from './support/tiny.js';

describe('configurations of others', () => {
  test('the original’s defaults are DiT-XL/2', () => {
    expect(ditFromOriginal({})).toEqual(ditXl2.build().config);
    expect(JSON.parse(JSON.stringify(ditFromOriginal({})))).toEqual(ditFromOriginal({}));
  });

  test('the original’s arguments', () => {
    const json = { input_size: 8, patch_size: 4, in_channels: 3, hidden_size: 24, depth: 1, num_heads: 3 };
    const more = { mlp_ratio: 2, class_dropout_prob: 0, num_classes: 5, learn_sigma: false };
    expect(ditFromOriginal({ ...json, ...more })).toMatchObject({
      ...{ imageSize: 8, patchSize: 4, inChannels: 3, outChannels: 3, width: 24, depth: 1, heads: 3 },
      ...{ mlpRatio: 2, nullLabel: false, classes: 5 },
    });
  });

  test('diffusers’ published DiT-XL/2 differs in three settings', () => {
    // The config.json of the published folder, as far as it is not the class's default.
    const json = { out_channels: 8, activation_fn: 'gelu-approximate', _class_name: 'DiTTransformer2DModel' };
    expect(ditFromDiffusers(json)).toEqual({
      ...ditXl2.build().config,
      mlpEpsilon: 1e-5,
      frequencyShift: 1,
      otherSizes: 'stretched',
    });
  });

  test.each<[string, () => unknown, RegExp]>([
    ['unknown keys', () => ditFromOriginal({ dept: 3 }), /ditFromOriginal: dept: not an argument/],
    [
      'what we do not build, all of it',
      () => ditFromDiffusers({ activation_fn: 'geglu', dropout: 0.1, norm_type: 'layer_norm' }),
      /dropout: expected 0[\s\S]*activation_fn: expected "gelu-approximate"[\s\S]*norm_type/,
    ],
    ['no object', () => ditFromDiffusers(null), /expected a configuration as a JSON object/],
  ])('refuses %s', (_, read, message) => {
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(message);
  });
});

describe('refused before anything is built', () => {
  test.each<[string, Partial<DiTConfig>, RegExp]>([
    ['counts', { depth: 0, classes: 1.5 }, /depth: expected a whole number[\s\S]*classes: /],
    ['a depth out of range', { depth: 1e9 }, /depth: expected at most 1024/],
    ['patches that do not fit', { patchSize: 3 }, /patchSize: expected a divisor of imageSize 4, got 3/],
    ['heads that do not divide', { heads: 3 }, /3 heads do not divide the width 8/],
    ['a width without quarters', { width: 6 }, /width: expected a multiple of 4 .*, got 6/],
    [
      'no classes but a null label, and epsilons',
      { classes: null, epsilon: 0 },
      /nullLabel: expected false[\s\S]*epsilon: /,
    ],
    [
      'choices',
      { frequencyShift: 2 as 1, embedders: 'one' as 'shared' },
      /frequencyShift: expected 0 or 1[\s\S]*embedders: /,
    ],
    ['no hidden width', { mlpRatio: 0.1 }, /mlpRatio: 0.1 x 8 leaves no hidden width/],
    ['relations, all at once', { heads: 3, patchSize: 3 }, /patchSize: [\s\S]*heads: /],
  ])('%s', (_, change, message) => {
    expect(() => new DiT({ ...tinyDiT, ...change })).toThrow(message);
  });
});
