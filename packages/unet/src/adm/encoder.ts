import type { RandomStream } from '@mezzotint/core';
import { Conv2d } from '@mezzotint/layers';
import type * as tf from '@tensorflow/tfjs-core';
import { AttentionBlock, Downsample, ResBlock, type Upsample } from './blocks.js';
import { type EncoderConfig, headCount, levelChannels } from './config.js';

/** A step of the network: layers run one after the other. Its place in the list is its place in the state dict. */
export type Stage = readonly (Conv2d | ResBlock | AttentionBlock | Downsample | Upsample)[];

export interface Encoder {
  readonly stages: readonly Stage[];
  /** Channels of each stage's output, which are the skip connections. */
  readonly widths: readonly number[];
}

/** The encoder, top to bottom: a convolution, then per level its residual blocks and a step down (none at the last). */
export function buildEncoder(config: EncoderConfig): Encoder {
  const levels = levelChannels(config);
  let width = levels[0]!;
  const stages: Stage[] = [[new Conv2d(config.inChannels, width, 3)]];
  const widths = [width];
  levels.forEach((channels, level) => {
    const attends = config.attentionResolutions.includes(2 ** level);
    for (let i = 0; i < config.resBlocks; i++) {
      const block = new ResBlock(width, channels, config);
      const heads = headCount(config.heads, channels);
      stages.push(attends ? [block, new AttentionBlock(channels, heads, config)] : [block]);
      widths.push(channels);
      width = channels;
    }
    if (level < levels.length - 1) {
      const residual = config.resampling === 'residual';
      stages.push([
        residual ? new ResBlock(width, width, config, 'down') : new Downsample(width, config.resampling === 'conv'),
      ]);
      widths.push(width);
    }
  });
  return { stages, widths };
}

/** The middle, at the lowest resolution: residual block, attention, residual block. */
export function buildMiddle(config: EncoderConfig): Stage {
  const width = levelChannels(config).at(-1)!;
  return [
    new ResBlock(width, width, config),
    new AttentionBlock(width, headCount(config.heads, width), config),
    new ResBlock(width, width, config),
  ];
}

/** Runs a stage. `emb` is silu(embedding), `[N, 4C]`. */
export function runStage(stage: Stage, x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
  let h = x;
  for (const layer of stage) h = layer instanceof ResBlock ? layer.forward(h, emb, rng) : layer.forward(h);
  return h;
}
