import { switchTo } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  Autoencoder,
  AutoencoderKL,
  AutoencoderTiny,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
  PatchDiscriminator,
  taesd,
  VQModel,
  vaeFlux,
  vaeSd,
  vqModelFromDiffusers,
} from '../src/index.js';
import { noise, tinyCoder, tinyKL, tinyTiny, tinyVQ } from './support/tiny.js';

beforeAll(() => switchTo('cpu'));

describe('config.json of diffusers', () => {
  // As the file of Stable Diffusion 1.5 has it: written before there was a scaling_factor.
  const sd15 = {
    _class_name: 'AutoencoderKL',
    _diffusers_version: '0.6.0',
    act_fn: 'silu',
    block_out_channels: [128, 256, 512, 512],
    down_block_types: Array(4).fill('DownEncoderBlock2D'),
    in_channels: 3,
    latent_channels: 4,
    layers_per_block: 2,
    norm_num_groups: 32,
    out_channels: 3,
    sample_size: 512,
    up_block_types: Array(4).fill('UpDecoderBlock2D'),
  };

  test('is read as it stands, absent keys as the class has them', () => {
    expect(autoencoderKLFromDiffusers(sd15)).toEqual(vaeSd.build().config);
    const flux = {
      ...sd15,
      latent_channels: 16,
      use_quant_conv: false,
      use_post_quant_conv: false,
      scaling_factor: 0.3611,
      shift_factor: 0.1159,
      force_upcast: true,
      latents_mean: null,
      latents_std: null,
      mid_block_add_attention: true,
    };
    expect(autoencoderKLFromDiffusers(flux)).toEqual(vaeFlux.build().config);
    expect(autoencoderTinyFromDiffusers({ _class_name: 'AutoencoderTiny' })).toEqual(taesd.build().config);
    expect(vqModelFromDiffusers({ num_vq_embeddings: 8192 })).toMatchObject({ codes: 8192, codeWidth: 3 });
  });

  test('names everything that it does not know or cannot build', () => {
    expect(() => autoencoderKLFromDiffusers({ ...sd15, act_fn: 'relu', colour: 1 })).toThrow(
      /colour: not an argument.*\n.*act_fn: expected "silu"/,
    );
    expect(() => autoencoderKLFromDiffusers({ ...sd15, down_block_types: ['AttnDownEncoderBlock2D'] })).toThrow(
      /down_block_types: expected DownEncoderBlock2D once for each of 4/,
    );
    expect(() => vqModelFromDiffusers({ norm_type: 'spatial' })).toThrow(/norm_type: expected "group"/);
    expect(() => autoencoderTinyFromDiffusers({ encoder_block_out_channels: [32, 64] })).toThrow(/same width/);
    expect(() => autoencoderKLFromDiffusers(null)).toThrow(/as a JSON object, got null/);
    const wide = autoencoderKLFromDiffusers({ ...sd15, block_out_channels: 'wide' });
    expect(() => new AutoencoderKL(wide)).toThrow(
      /blockChannels: expected 1 to 12 whole numbers of at least 1, got "wide"/,
    );
  });
});

describe('configurations are checked before anything is allocated, all problems at once', () => {
  test.each([
    [
      'Autoencoder',
      () => new Autoencoder({ ...tinyCoder, groups: 3 }),
      /groups: 3 groups do not divide the 4 channels/,
    ],
    [
      'AutoencoderKL',
      () => new AutoencoderKL({ ...tinyKL, latentChannels: 0, layersPerBlock: 1e9, blockChannels: [] }),
      /latentChannels: .*\n.*layersPerBlock: .*\n.*blockChannels:/,
    ],
    [
      'AutoencoderKL’s scale',
      () => new AutoencoderKL({ ...tinyKL, scalingFactor: 0, shiftFactor: Number.NaN }),
      /scalingFactor: .*\n.*shiftFactor:/,
    ],
    ['VQModel', () => new VQModel({ ...tinyVQ, codes: 0.5, codeWidth: -1 }), /codes: .*\n.*codeWidth:/],
    [
      'AutoencoderTiny',
      () => new AutoencoderTiny({ ...tinyTiny, decoderBlocks: [1, 2, 70], latentMagnitude: 1 }),
      /decoderBlocks: expected as many levels.*\n.*at most 64/,
    ],
    [
      'PatchDiscriminator',
      () => new PatchDiscriminator({ inChannels: 0, channels: 1, layers: 99 }),
      /inChannels: .*\n/,
    ],
  ])('%s', (_, build, message) => {
    expect(build).toThrow(message);
  });
});

describe('images that do not fit are refused with both numbers', () => {
  test.each([
    ['AutoencoderKL', new AutoencoderKL(tinyKL)],
    ['Autoencoder', new Autoencoder(tinyCoder)],
    ['AutoencoderTiny', new AutoencoderTiny(tinyTiny)],
    ['VQModel', new VQModel(tinyVQ)],
  ])('%s', (who, model) => {
    expect(() => model.encode(noise([1, 4, 4, 3]))).toThrow(`${who}: x: expected [N, H, W, 2], got [1,4,4,3]`);
    const least = who === 'AutoencoderTiny' ? 1 : 2; // The one pads, the others take whole steps only.
    expect(() => model.encode(noise([1, 4, 0, 2]))).toThrow(
      `${who}: x: expected a height and a width of at least ${least}, got 4 x 0`,
    );
    expect(() => model.decode(noise([1, 2, 2, 9]))).toThrow(/got \[1,2,2,9\]/);
  });
});

test('log-variances are clamped to [-30, 20]', async () => {
  const model = new AutoencoderKL(tinyKL).init(0);
  const { quant_conv } = model;
  quant_conv!.bias!.variable.assign(tf.tensor1d([0, 0, 0, 100, -100, 0]));
  const { logvar } = model.encode(noise([1, 4, 4, 2]));
  const values = logvar.dataSync();
  expect([values[0], values[1]]).toEqual([20, -30]);
});

test('the tiny autoencoder’s latents in [0, 1] and back', () => {
  const model = new AutoencoderTiny(tinyTiny);
  const z = tf.tensor4d([-3, 0, 1.5, 9], [1, 2, 2, 1]);
  const unit = model.latentsToUnit(z);
  expect([...unit.dataSync()]).toEqual([0, 0.5, 0.75, 1]);
  expect([...model.latentsFromUnit(unit).dataSync()]).toEqual([-3, 0, 1.5, 3]);
});
