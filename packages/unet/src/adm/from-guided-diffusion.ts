import { InvalidArgumentError } from '@mezzotint/core';
import type { ClassifierConfig, ClassifierPool, EncoderConfig, HeadRule, UNetConfig } from './config.js';

/** Arguments that change how the reference computes (checkpointing, half precision), not what. */
const withoutEffect = ['use_checkpoint', 'use_fp16'];

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
  dims: 2,
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
export function fromGuidedDiffusion(json: unknown): UNetConfig {
  const read = reader('fromGuidedDiffusion', json, { ...encoderKeys, num_classes: null });
  const upHeads = read('num_heads_upsample') as number;
  const encoder = encoderConfig(read);
  return {
    ...encoder,
    outChannels: read('out_channels') as number,
    headsUp: 'count' in encoder.heads && upHeads !== -1 ? { count: upHeads } : encoder.heads,
    classes: read('num_classes') as number | null,
  };
}

/**
 * Our configuration from the arguments of guided-diffusion's `EncoderUNetModel`, the noisy classifier.
 * @throws InvalidArgumentError naming every unknown, missing or unusable key
 */
export function classifierFromGuidedDiffusion(json: unknown): ClassifierConfig {
  const read = reader('classifierFromGuidedDiffusion', json, { ...encoderKeys, pool: 'adaptive' });
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
    attentionFactors: read('attention_resolutions') as number[],
    heads,
    attentionOrder: read('use_new_attention_order') ? 'new' : 'legacy',
    timeConditioning: read('use_scale_shift_norm') ? 'scale-shift' : 'additive',
    resampling: read('resblock_updown') ? 'residual' : read('conv_resample') ? 'conv' : 'pool',
    groups: 32,
    dropout: read('dropout') as number,
  };
}

/** Looks keys up with their defaults (undefined: required) after checking that all are there and none is foreign. */
function reader(who: string, json: unknown, defaults: Readonly<Record<string, unknown>>): Read {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidArgumentError(
      who,
      `expected a JSON object of guided-diffusion's arguments, got ${JSON.stringify(json)}`,
    );
  }
  const given = json as Readonly<Record<string, unknown>>;
  const problems = [
    ...Object.keys(given)
      .filter((key) => !(key in defaults) && !withoutEffect.includes(key))
      .map((key) => `${key}: not an argument of this class`),
    ...Object.keys(defaults)
      .filter((key) => defaults[key] === undefined && given[key] === undefined)
      .map((key) => `${key}: missing, and it has no default`),
  ];
  if ((given.dims ?? 2) !== 2) problems.push(`dims: expected 2 (images), got ${JSON.stringify(given.dims)}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return (key) => (given[key] === undefined ? defaults[key] : given[key]);
}
