import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { ZigMa, type ZigMaConfig, zigma, zigmaB1, zigmaB2At1024, zigmaFromOriginal } from '../src/index.js';
import { tinyMamba2, tinyZigMa } from './support/tiny.js';

describe('configurations of the original', () => {
  test('the released ones', () => {
    // config/model/zigzag8_b1_pe2.yaml and s1024_zigzag8_b2_old.yaml of the original.
    const b1 = {
      img_dim: 32,
      in_channels: 4,
      patch_size: 1,
      embed_dim: 768,
      depth: 24,
      scan_type: 'zigzagN8',
      use_pe: 2,
    };
    expect(zigmaFromOriginal(b1)).toEqual(zigmaB1.build().config);
    const b2 = { img_dim: 128, in_channels: 4, patch_size: 2, embed_dim: 768, depth: 24, scan_type: 'zigzagN8' };
    expect(zigmaFromOriginal(b2)).toEqual(zigmaB2At1024.build().config);
    expect(zigmaFromOriginal({ ...b1, scan_type: 'v2', num_classes: 10 })).toMatchObject({
      ...{ scan: 'bidirectional', paths: null, classes: 10, nullLabel: false, context: null },
    });
    expect(zigmaFromOriginal({ ...b1, scan_type: 'hilbertN3' })).toMatchObject({ scan: 'hilbert', paths: 3 });
    expect(JSON.parse(JSON.stringify(zigmaFromOriginal(b1)))).toEqual(zigmaFromOriginal(b1));
  });

  const size = { img_dim: 8, in_channels: 4, embed_dim: 8, depth: 1 };
  test.each<[string, () => unknown, RegExp]>([
    [
      'missing and unknown keys',
      () => zigmaFromOriginal({ dept: 3 }),
      /dept: not an argument[\s\S]*embed_dim: missing/,
    ],
    [
      'what we do not build, all of it',
      () => zigmaFromOriginal({ ...size, video_frames: 16, rms_norm: false }),
      /rms_norm: expected true[\s\S]*video_frames: expected 0/,
    ],
    ['paths that it cannot run', () => zigmaFromOriginal({ ...size, scan_type: 'parallelN8', use_pe: 3 }), /scan_type: .*"parallelN8"[\s\S]*use_pe: .*got 3/], // biome-ignore format: a table
    ['no object', () => zigmaFromOriginal(null), /expected a configuration as a JSON object/],
  ])('refuses %s', (_, read, message) => {
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(message);
  });
});

describe('refused before anything is built', () => {
  test.each<[string, Partial<ZigMaConfig>, RegExp]>([
    ['counts', { depth: 0, states: 1.5 }, /depth: expected a whole number[\s\S]*states: /],
    ['a depth out of range', { depth: 1e9 }, /depth: expected at most 1024/],
    ['patches that do not fit', { patchSize: 4 }, /patchSize: expected a divisor of imageSize 6, got 4/],
    ['paths', { paths: 9 }, /paths: expected 1 or 2 .* or 8, got 9/],
    ['paths of both directions', { scan: 'bidirectional' }, /paths: expected null, got 2/],
    ['heads of the other mixer', { headWidth: 8 }, /headWidth: expected null, got 8/],
    ['heads that do not divide', { mixer: 'mamba-2', headWidth: 3 }, /headWidth: heads of 3 channels do not divide/],
    ['labels and text', { context: { tokens: 1, width: 1 } }, /a model has labels or text, not both/],
    ['a null label of no labels', { classes: null }, /nullLabel: expected false, as there are no classes/],
    ['rates', { dropPath: 1 }, /dropPath: expected a rate in \[0, 1\), got 1/],
    ['positions of an odd width', { positions: 'sin-cos', width: 6 }, /width: expected a multiple of 4 .*, got 6/],
  ])('%s', (_, change, message) => {
    expect(() => new ZigMa({ ...tinyZigMa, ...change })).toThrow(message);
  });

  test('what is needed is asked for', () => {
    expect(() => new ZigMa({ ...tinyMamba2, headWidth: null })).toThrow(/headWidth: expected a whole number/);
  });
});

test('sizes for data of one’s own have labels or text', () => {
  const data = { imageSize: 32, channels: 3, classes: 10 };
  expect(zigma.sized!('small', data)).toMatchObject({ classes: 10, nullLabel: true, context: null, patchSize: 2 });
  const text = zigma.sized!('small', { ...data, contextWidth: 768 });
  expect(text).toMatchObject({ classes: null, nullLabel: false, context: { tokens: 77, width: 768 } });
  expect(new ZigMa(text).config).toEqual(text);
  expect(() => zigma.sized!('small', { ...data, learnedVariance: true })).toThrow(/no channels for a learned variance/);
});
