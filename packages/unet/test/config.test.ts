import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  ADMUNet,
  type ADMUNetConfig,
  adm64,
  classifierFromGuidedDiffusion,
  ddpmCifar10,
  fromGuidedDiffusion,
  NoisyClassifier,
  SuperResolutionUNet,
  UNet2D,
  type UNet2DConfig,
  unet2dFromDiffusers,
} from '../src/index.js';
import { readJson } from './support/golden.js';
import { tinyClassifier, tinyUNet, tinyUNet2D } from './support/tiny.js';

function problemsOf(build: () => unknown): readonly string[] {
  try {
    build();
  } catch (error) {
    if (error instanceof InvalidArgumentError) return error.problems;
    throw error;
  }
  return [];
}

describe('a configuration is checked as a whole before anything is built', () => {
  test.each<[string, object, string]>([
    ['heads that do not divide', { heads: { count: 3 } }, 'heads: 3 heads do not divide the 16 channels of level 1'],
    [
      'channels a head',
      { heads: { channels: 5 } },
      'heads: 5 channels a head does not divide the 16 channels of level 1',
    ],
    ['heads of the decoder', { headsUp: { count: 7 } }, 'headsUp: 7 heads do not divide the 16 channels of level 1'],
    ['no heads', { heads: { number: 4 } }, 'heads: expected { count } or { channels }'],
    ['groups', { groups: 3 }, 'groups: 3 groups do not divide the 8 channels of level 0'],
    [
      'an attention level that is not there',
      { attentionResolutions: [4] },
      'attentionResolutions: 4 is not the factor of any level; the levels have 1, 2',
    ],
    ['an image that does not halve', { imageSize: 9 }, 'imageSize: expected a multiple of 2 (2 levels), got 9'],
    ['half a channel', { channelMult: [1, 1.3] }, 'channelMult[1]: 1.3 x 8 channels is not a whole number'],
    ['no levels', { channelMult: [] }, 'channelMult: expected one positive multiple of modelChannels a level, got []'],
    ['no classes', { classes: 0 }, 'classes: expected a whole number of at least 1, got 0'],
    ['dropout of all', { dropout: 1 }, 'dropout: expected a rate in [0, 1), got 1'],
    ['a word for a number', { modelChannels: '64' }, 'modelChannels: expected a whole number of at least 1, got "64"'],
    ['an unknown order', { attentionOrder: 'old' }, 'attentionOrder: expected new or legacy, got "old"'],
    ['more blocks than memory', { resBlocks: 1e9 }, 'resBlocks: expected at most 64, got 1000000000'],
    ['endless levels', { channelMult: Array(40).fill(1) }, 'channelMult: expected at most 12 levels, got 40'],
  ])('%s', (_, change, problem) => {
    const problems = problemsOf(() => new ADMUNet({ ...tinyUNet, ...change } as ADMUNetConfig));
    expect(problems.some((line) => line.startsWith(problem))).toBe(true);
  });

  test('all problems at once, each with both numbers, and who complains', () => {
    const wrong = { ...tinyUNet, imageSize: 9, groups: 3, attentionResolutions: [1, 8], heads: { count: 3 } };
    // One for the size, two for the levels that 3 does not divide, one for the factor 8; two for 3 heads and two for 5.
    expect(problemsOf(() => new ADMUNet({ ...wrong, headsUp: { count: 5 } })).length).toBe(8);
    expect(() => new SuperResolutionUNet({ ...tinyUNet, dropout: -1 })).toThrow(/^SuperResolutionUNet: dropout/);
    expect(() => new NoisyClassifier({ ...tinyClassifier, pool: 'mean' as 'adaptive' })).toThrow(
      /pool: expected attention or/,
    );
    expect(
      () =>
        new NoisyClassifier({
          ...tinyClassifier,
          pool: 'spatial_v2',
          modelChannels: 24,
          groups: 24,
          heads: { count: 1 },
        }),
    ).toThrow(/groups: 24 groups do not divide the 2048 channels/);
  });
});

test('a model’s configuration builds it again, and cannot be mistaken for the network’s inner one', () => {
  for (const model of [new ADMUNet(tinyUNet), new SuperResolutionUNet(tinyUNet), new UNet2D(tinyUNet2D)]) {
    const again = new (model.constructor as new (config: unknown) => typeof model)(
      JSON.parse(JSON.stringify(model.config)),
    );
    const shapes = (m: typeof model) => [...m.params()].map(([name, param]) => `${name} ${param.shape}`);
    expect(shapes(again)).toEqual(shapes(model));
  }
});

describe('guided-diffusion’s configurations', () => {
  test('become ours, and a JSON round trip changes nothing', () => {
    const config = fromGuidedDiffusion(readJson('adm-legacy-attention/config.json'));
    expect(config).toEqual({
      imageSize: 16,
      inChannels: 3,
      outChannels: 6,
      modelChannels: 32,
      channelMult: [1, 2],
      resBlocks: 1,
      attentionResolutions: [2],
      heads: { channels: 16 },
      headsUp: { channels: 16 },
      attentionOrder: 'legacy',
      timeConditioning: 'scale-shift',
      resampling: 'residual',
      groups: 32,
      dropout: 0,
      classes: 10,
      nullLabel: false,
    });
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
    expect(fromGuidedDiffusion(readJson('adm-super-resolution/config.json'))).toMatchObject({
      heads: { count: 4 },
      headsUp: { count: 4 },
      classes: null,
    });
  });

  const required = {
    image_size: 64,
    in_channels: 3,
    model_channels: 192,
    out_channels: 6,
    num_res_blocks: 3,
    attention_resolutions: [2, 4, 8],
  };

  test('ADM 64 by its published flags is our preset', () => {
    const flags = { num_classes: 1000, channel_mult: [1, 2, 3, 4], dropout: 0.1, num_head_channels: 64 };
    const ways = { use_scale_shift_norm: true, resblock_updown: true, use_new_attention_order: true, use_fp16: true };
    expect(fromGuidedDiffusion({ ...required, ...flags, ...ways })).toEqual(adm64.build().config);
  });

  test('defaults are the reference’s', () => {
    expect(fromGuidedDiffusion(required)).toMatchObject({
      channelMult: [1, 2, 4, 8],
      heads: { count: 1 },
      headsUp: { count: 1 },
      attentionOrder: 'legacy',
      timeConditioning: 'additive',
      resampling: 'conv',
      dropout: 0,
      classes: null,
    });
    expect(fromGuidedDiffusion({ ...required, num_heads: 2, num_heads_upsample: 4 }).headsUp).toEqual({ count: 4 });
    expect(fromGuidedDiffusion({ ...required, conv_resample: false }).resampling).toBe('pool');
    expect(classifierFromGuidedDiffusion(required)).toMatchObject({ pool: 'adaptive', classes: 6 });
  });

  test('unknown, missing and unusable keys are all named', () => {
    expect(problemsOf(() => fromGuidedDiffusion({ ...required, image_size: undefined, width: 3, dims: 3 }))).toEqual([
      'width: not an argument of this class',
      'image_size: missing, and it has no default',
      'dims: expected 2, the only one that we build, got 3',
    ]);
    expect(() => fromGuidedDiffusion([1])).toThrow(/expected a configuration as a JSON object/);
    expect(() => classifierFromGuidedDiffusion({ ...required, num_classes: 10 })).toThrow(
      /num_classes: not an argument/,
    );
  });
});

describe('diffusers’ configurations', () => {
  test('become ours: DDPM’s published CIFAR-10 file is our preset, but for the dropout of its training', () => {
    const file = {
      _class_name: 'UNet2DModel',
      _diffusers_version: '0.0.4',
      act_fn: 'silu',
      attention_head_dim: null,
      block_out_channels: [128, 256, 256, 256],
      center_input_sample: false,
      down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
      downsample_padding: 0,
      flip_sin_to_cos: false,
      freq_shift: 1,
      in_channels: 3,
      layers_per_block: 2,
      mid_block_scale_factor: 1,
      norm_eps: 1e-6,
      norm_num_groups: 32,
      out_channels: 3,
      sample_size: 32,
      time_embedding_type: 'positional',
      up_block_types: ['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
    };
    expect({ ...unet2dFromDiffusers(file), dropout: 0.1 }).toEqual(ddpmCifar10.build().config);
  });

  test('what we do not build is named, all of it', () => {
    const json = { act_fn: 'tanh', time_embedding_type: 'learned', down_block_types: ['SkipDownBlock2D'] };
    expect(problemsOf(() => unet2dFromDiffusers(json))).toEqual([
      'down_block_types: expected a list of DownBlock2D, ResnetDownsampleBlock2D, AttnDownBlock2D, got ["SkipDownBlock2D"]',
      'time_embedding_type: expected "positional" or "fourier", got "learned"',
      'act_fn: expected one of silu, swish, mish, gelu, relu, got "tanh"',
    ]);
    expect(problemsOf(() => unet2dFromDiffusers({ colour: 'red' }))).toEqual(['colour: not an argument of this class']);
  });

  test.each<[string, object, string]>([
    ['groups', { groups: 3 }, 'groups: 3 groups do not divide the 8 channels of level 0'],
    ['heads', { headChannels: 3 }, 'headChannels: 3 channels a head do not divide the 16 channels of level 1'],
    ['levels', { downAttention: [true] }, 'downAttention: expected one for each of 2 levels, got 1'],
    ['widths', { blockChannels: [] }, 'blockChannels: expected 1 to 12 whole numbers, got []'],
    ['padding', { downsamplePadding: 2 }, 'downsamplePadding: expected 0 or 1, got 2'],
    ['length', { layersPerBlock: 1e9 }, 'layersPerBlock: expected at most 64, got 1000000000'],
  ])('relations are checked: %s', (_, change, problem) => {
    expect(problemsOf(() => new UNet2D({ ...tinyUNet2D, ...change } as UNet2DConfig))).toContain(problem);
  });
});
