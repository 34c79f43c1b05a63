import { switchTo } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { EfficientUNet, efficientUNet, efficientUNetFromImagenPytorch } from '../src/index.js';
import { conditions, noisy, tinyBase, tinyEfficient } from './support/tiny.js';

beforeAll(() => switchTo('cpu'));

test('everything that is wrong with a configuration is said at once', () => {
  const wrong = {
    ...tinyBase,
    heads: 0,
    resBlocks: [1],
    lastKernel: 2,
    firstKernels: [2],
    upsampling: 'bicubic' as never,
  };
  expect(() => new EfficientUNet(wrong)).toThrow(
    /heads[\s\S]*resBlocks[\s\S]*firstKernels[\s\S]*lastKernel[\s\S]*upsampling/,
  );
});

test('sizes from a hostile file are refused before anything is built', () => {
  expect(() => new EfficientUNet({ ...tinyBase, resBlocks: [1e9, 1] })).toThrow(/resBlocks/);
  expect(() => new EfficientUNet({ ...tinyBase, midAttentionDepth: 1e9 })).toThrow(/midAttentionDepth/);
});

test('arguments of imagen-pytorch that are not built are refused by name', () => {
  expect(() => efficientUNetFromImagenPytorch({ dim: 8, use_linear_attn: true, foo: 1 })).toThrow(
    /foo[\s\S]*use_linear_attn/,
  );
  expect(() => efficientUNetFromImagenPytorch({})).toThrow(/dim: missing/);
});

test('what a forward pass refuses', () => {
  const model = new EfficientUNet(tinyEfficient);
  const time = tf.tensor1d([1, 2]);
  const all = conditions(tinyEfficient);
  expect(() => model.forward(noisy(), time)).toThrow(
    /lowRes: expected \[2,4,4,2\], got none[\s\S]*context: expected \[2,S,5\]/,
  );
  const small = tf.tensor4d(new TorchGenerator(1).randn(16), [2, 2, 2, 2]);
  expect(() => model.forward(noisy(), time, { ...all, lowRes: small })).toThrow(
    /lowRes: expected \[2,4,4,2\], got \[2,2,2,2\]/,
  );
  const odd = tf.zeros<tf.Rank.R4>([2, 6, 4, 2]);
  expect(() => model.forward(odd, time, all)).toThrow(/4 divides/);
  const base = new EfficientUNet(tinyBase);
  expect(() => base.forward(noisy(), time, { ...conditions(tinyBase), lowResTime: time })).toThrow(
    /lowResTime: this model takes none/,
  );
});

test('networks for data of one’s own', () => {
  const config = efficientUNet.sized!('small', { imageSize: 32, channels: 3, classes: null, contextWidth: 64 });
  expect(config).toMatchObject({ imageSize: 32, inChannels: 3, channelMult: [1, 2, 4, 8], text: { width: 64 } });
  expect(efficientUNet.sized!('small', { imageSize: 28, channels: 1, classes: null }).channelMult).toEqual([1, 2, 4]);
  expect(() => efficientUNet.sized!('small', { imageSize: 32, channels: 3, classes: 10 })).toThrow(/has no labels/);
});
