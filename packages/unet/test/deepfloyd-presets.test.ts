import { expect, test } from 'vitest';
import { ifIIL, ifIXl, unet2dConditionFromDiffusers } from '../src/index.js';

// What unet/config.json of the published folders says, as far as it is not a default of diffusers' class: facts read in public copies
// (ckpt/IF-I-XL-v1.0-16bit; williamberman/dreambooth_me_upscale, which was tuned from IF-II-L-v1.0) and in diffusers' scripts/convert_if.py.
const both = {
  ...{ act_fn: 'gelu', addition_embed_type: 'text', addition_embed_type_num_heads: 64, attention_head_dim: 64 },
  ...{ cross_attention_norm: 'group_norm', encoder_hid_dim: 4096, encoder_hid_dim_type: 'text_proj', out_channels: 6 },
  ...{ mid_block_type: 'UNetMidBlock2DSimpleCrossAttn', resnet_time_scale_shift: 'scale_shift' },
};
const down = (attention: readonly number[]) =>
  attention.map((has) => (has ? 'SimpleCrossAttnDownBlock2D' : 'ResnetDownsampleBlock2D'));
const up = (attention: readonly number[]) =>
  attention.map((has) => (has ? 'SimpleCrossAttnUpBlock2D' : 'ResnetUpsampleBlock2D'));

test.each([
  [
    'I-XL',
    ifIXl,
    {
      ...{ block_out_channels: [704, 1408, 2112, 2816], layers_per_block: 3, cross_attention_dim: 2816 },
      ...{ in_channels: 3, sample_size: 64, class_embed_type: null, mid_block_scale_factor: 1 },
      ...{ resnet_out_scale_factor: 1, resnet_skip_time_act: false },
      ...{ down_block_types: down([0, 1, 1, 1]), up_block_types: up([1, 1, 1, 0]) },
    },
  ],
  [
    'II-L',
    ifIIL,
    {
      ...{ block_out_channels: [160, 320, 640, 960, 1280], layers_per_block: [2, 2, 3, 5, 5] },
      ...{ cross_attention_dim: 1280, in_channels: 6, sample_size: 256, class_embed_type: 'timestep' },
      ...{ mid_block_scale_factor: 1.4142271248762552, resnet_out_scale_factor: 1.4142271248762552 },
      ...{ resnet_skip_time_act: true, time_embedding_act_fn: 'gelu', time_embedding_dim: 1280 },
      ...{ down_block_types: down([0, 0, 0, 1, 1]), up_block_types: up([1, 1, 0, 0, 0]) },
    },
  ],
] as const)('the preset of IF-%s is what its config.json says', (_, preset, own) => {
  expect(preset.config).toEqual(unet2dConditionFromDiffusers({ ...both, ...own }));
});
