import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  UViT,
  type UViTConfig,
  uvit,
  uvitFromOriginal,
  uvitL2,
  uvitS2Coco,
  uvitTextToImageFromOriginal,
} from '../src/index.js';
import { tinyTextUViT, tinyUViT } from './support/tiny.js';

describe('configurations of the original', () => {
  test('the arguments of the published files', () => {
    // `config.nnet` of the original's imagenet256_uvit_large and mscoco_uvit_small.
    const same = { patch_size: 2, in_chans: 4, img_size: 32, mlp_ratio: 4, qkv_bias: false, mlp_time_embed: false };
    const large = { ...same, name: 'uvit', embed_dim: 1024, depth: 20, num_heads: 16, num_classes: 1001 };
    expect(uvitFromOriginal({ ...large, use_checkpoint: true }, { nullLabel: true })).toEqual(uvitL2.build().config);
    const coco = {
      ...same,
      name: 'uvit_t2i',
      embed_dim: 512,
      depth: 12,
      num_heads: 8,
      clip_dim: 768,
      num_clip_token: 77,
    };
    expect(uvitTextToImageFromOriginal(coco)).toEqual(uvitS2Coco.build().config);
    expect(uvitFromOriginal({ num_classes: 10 })).toMatchObject({ classes: 10, nullLabel: false });
    expect(uvitFromOriginal({ num_classes: -1 }, { nullLabel: true })).toMatchObject({
      classes: null,
      nullLabel: false,
    });
    expect(JSON.parse(JSON.stringify(uvitFromOriginal({})))).toEqual(uvitFromOriginal({}));
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      'unknown keys',
      () => uvitFromOriginal({ dept: 3, clip_dim: 7 }),
      /dept: not an argument[\s\S]*clip_dim: not an arg/,
    ],
    ['another scale', () => uvitTextToImageFromOriginal({ qk_scale: 1 }), /qk_scale: expected null, the only one/],
    ['no object', () => uvitFromOriginal(null), /expected a configuration as a JSON object/],
  ])('refuses %s', (_, read, message) => {
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(message);
  });
});

describe('refused before anything is built', () => {
  test.each<[string, Partial<UViTConfig>, RegExp]>([
    ['counts', { depth: 0, classes: 1.5 }, /depth: expected a whole number[\s\S]*classes: /],
    ['a depth out of range', { depth: 1e9 }, /depth: expected at most 1024/],
    ['an odd depth', { depth: 3 }, /depth: expected an even number .*, got 3/],
    ['patches that do not fit', { patchSize: 3 }, /patchSize: expected a divisor of imageSize 4, got 3/],
    ['heads that do not divide', { heads: 3 }, /3 heads do not divide the width 8/],
    ['choices', { finalConv: 1 as unknown as boolean }, /finalConv: expected true or false, got 1/],
    ['no hidden width', { mlpRatio: 0.1 }, /mlpRatio: 0.1 x 8 leaves no hidden width/],
    ['labels and text', { context: tinyTextUViT.context }, /a model has labels or text, not both/],
    ['a null label of no labels', { classes: null }, /nullLabel: expected false, as there are no classes/],
    ['text without tokens', { classes: null, context: { tokens: 0, width: 4 } }, /context.tokens: expected a whole/],
    ['relations, all at once', { heads: 3, patchSize: 3 }, /patchSize: [\s\S]*heads: /],
  ])('%s', (_, change, message) => {
    expect(() => new UViT({ ...tinyUViT, ...change })).toThrow(message);
  });
});

test('sizes for data of one’s own have labels or text', () => {
  const data = { imageSize: 32, channels: 3, classes: 10 };
  expect(uvit.sized!('small', data)).toMatchObject({ classes: 10, nullLabel: true, context: null, patchSize: 2 });
  const text = uvit.sized!('small', { ...data, contextWidth: 768 });
  expect(text).toMatchObject({ classes: null, nullLabel: false, context: { tokens: 77, width: 768 } });
  expect(new UViT(text).config).toEqual(text);
});
