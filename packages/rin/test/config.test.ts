import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { RIN, type RINConfig, rinFromOriginal, rinImageNet64 } from '../src/index.js';
import { tinyRIN } from './support/tiny.js';

/** The arguments of the original for its ImageNet-64 configuration. */
const imageNet64 = {
  ...{ image_height: 64, image_width: 64, image_channels: 3, patch_size: 8, num_layers: '4,4,4,4', latent_slots: 128 },
  ...{ latent_dim: 768, latent_mlp_ratio: 4, latent_num_heads: 16, tape_dim: 512, tape_mlp_ratio: 4, rw_num_heads: 16 },
  ...{ drop_units: 0, time_scaling: 1000, self_cond: 'latent', time_on_latent: true, cond_on_latent_n: 1 },
  num_classes: 1000,
};

describe('configurations of the original', () => {
  test('ImageNet 64x64', () => {
    expect(rinFromOriginal(imageNet64)).toEqual(rinImageNet64.build().config);
    expect(JSON.parse(JSON.stringify(rinFromOriginal(imageNet64)))).toEqual(rinFromOriginal(imageNet64));
  });

  test.each<[string, () => unknown, RegExp]>([
    ['missing and unknown keys', () => rinFromOriginal({ dept: 3 }), /dept: not an arg[\s\S]*image_height: missing/],
    [
      'what we do not build, all of it',
      () => rinFromOriginal({ ...imageNet64, conv_kernel_size: 3, drop_att: 0.1, cond_decoupled_read: true }),
      /conv_kernel_size: expected 0[\s\S]*cond_decoupled_read: expected false[\s\S]*drop_att: expected 0/,
    ],
    [
      'latents for a label that is not there',
      () => rinFromOriginal({ ...imageNet64, num_classes: 0 }),
      /cond_on_latent/,
    ],
    ['no object', () => rinFromOriginal(null), /expected a configuration as a JSON object/],
  ])('refuses %s', (_, read, message) => {
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(message);
  });

  test('names that it does not have are refused when the model is built', () => {
    const odd = rinFromOriginal({ ...imageNet64, self_cond: 'all', num_layers: '4,x', tape_pos_encoding: 'rope' });
    expect(() => new RIN(odd)).toThrow(/tokenPositions: .*"rope"[\s\S]*selfConditioning: .*"all"[\s\S]*blocks: /);
  });
});

describe('refused before anything is built', () => {
  test.each<[string, Partial<RINConfig>, RegExp]>([
    ['counts', { latents: 0, classes: 1.5 }, /latents: expected a whole number[\s\S]*classes: /],
    ['blocks out of range', { blocks: [1e9] }, /blocks: expected at most 1024 blocks and layers/],
    ['no blocks', { blocks: [] }, /blocks: expected a list of numbers of layers/],
    ['patches that do not fit', { imageWidth: 5 }, /patchSize: expected a divisor of imageWidth 5, got 2/],
    ['heads that do not divide', { latentHeads: 3 }, /latentHeads: 3 heads do not divide the width 8/],
    ['heads of the smaller width', { readWriteHeads: 16 }, /16 heads do not divide the smaller width 8/],
    ['widths', { tokenWidth: 12 }, /tokenWidth: expected a multiple of 8 .*, got 12/],
    ['latents for conditions only', { latents: 2 }, /latents: expected at least one beside those of time and label/],
    [
      'rates',
      { dropPath: 1, selfConditioningRate: 1.1 },
      /selfConditioningRate: .*in \[0, 1\],[\s\S]*dropPath: .*\[0, 1\)/,
    ],
    ['choices', { timeOn: 'tape' as 'tokens' }, /timeOn: expected latents or tokens, got "tape"/],
    ['relations, all at once', { latentHeads: 3, latents: 1 }, /latentHeads: [\s\S]*latents: /],
  ])('%s', (_, change, message) => {
    expect(() => new RIN({ ...tinyRIN, ...change })).toThrow(message);
  });
});
