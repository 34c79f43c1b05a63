import { foreignConfig } from '@mezzotint/core';
import type { ADMUNetConfig, ClassifierConfig, ClassifierPool, EncoderConfig, HeadRule } from './config.js';

/** Arguments that change how the reference computes (checkpointing, half precision), not what. */
const ignored = (key: string) => key === 'use_checkpoint' || key === 'use_fp16';

const fixed = { dims: 2 };

const encoderKeys = {
  image_size: undefined,
  in_channels: undefined,
  model_channels: undefined,
  out_channels: undefined,
  num_res_blocks: undefined,
  attention_resolutions: undefined,
  dropout: 0,
  channel_mult: [1, 2, 4, 8],
  conv_resample: true,
  num_heads: 1,
  num_head_channels: -1,
  num_heads_upsample: -1,
  use_scale_shift_norm: false,
  resblock_updown: false,
  use_new_attention_order: false,
} as const;

/**
 * Our configuration from the arguments of guided-diffusion's `UNetModel` or `SuperResModel` (a JSON object with keys
 * such as `model_channels`; absent keys take that class's defaults). `attention_resolutions` are downsampling factors.
 * The configuration of a `SuperResModel` counts the channels of the image only, as ours does.
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function fromGuidedDiffusion(json: unknown): ADMUNetConfig {
  const read = foreignConfig('fromGuidedDiffusion', json, {
    defaults: { ...encoderKeys, num_classes: null },
    fixed,
    ignored,
  });
  const upHeads = read('num_heads_upsample') as number;
  const encoder = encoderConfig(read);
  return {
    ...encoder,
    outChannels: read('out_channels') as number,
    headsUp: 'count' in encoder.heads && upHeads !== -1 ? { count: upHeads } : encoder.heads,
    classes: read('num_classes') as number | null,
    nullLabel: false,
  };
}

/**
 * Our configuration from the arguments of guided-diffusion's `EncoderUNetModel`, the noisy classifier.
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function classifierFromGuidedDiffusion(json: unknown): ClassifierConfig {
  const read = foreignConfig('classifierFromGuidedDiffusion', json, {
    defaults: { ...encoderKeys, pool: 'adaptive' },
    fixed,
    ignored,
  });
  return {
    ...encoderConfig(read),
    classes: read('out_channels') as number,
    pool: read('pool') as ClassifierPool,
  };
}

type Read = (key: string) => unknown;

function encoderConfig(read: Read): EncoderConfig {
  const heads: HeadRule =
    read('num_head_channels') === -1
      ? { count: read('num_heads') as number }
      : { channels: read('num_head_channels') as number };
  return {
    imageSize: read('image_size') as number,
    inChannels: read('in_channels') as number,
    modelChannels: read('model_channels') as number,
    channelMult: read('channel_mult') as number[],
    resBlocks: read('num_res_blocks') as number,
    attentionResolutions: read('attention_resolutions') as number[],
    heads,
    attentionOrder: read('use_new_attention_order') ? 'new' : 'legacy',
    timeConditioning: read('use_scale_shift_norm') ? 'scale-shift' : 'additive',
    resampling: read('resblock_updown') ? 'residual' : read('conv_resample') ? 'conv' : 'pool',
    groups: 32,
    dropout: read('dropout') as number,
  };
}
