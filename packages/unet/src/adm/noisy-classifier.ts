import { imageProblems, Module, normal, Param, type RandomStream, throwIf, timeProblems } from '@mezzotint/core';
import { attention, type Conv2d, GroupNorm, joinHeads, Linear, silu, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { embeddingWidth, PointwiseConv1d, splitQkv, zeroConv } from './blocks.js';
import { type ClassifierConfig, headCount, levelChannels, spatialWidth, totalDownsampling } from './config.js';
import { buildEncoder, buildMiddle, runStage, type Stage } from './encoder.js';
import { validateClassifierConfig } from './validate.js';

/** What a classifier takes beside the image and the time. */
export interface ClassifierInputs {
  /** Source of dropout; absent, there is none. */
  readonly rng?: RandomStream;
}

/**
 * Reads the class of an image at any noise level: the UNet's encoder and a pooling head (Dhariwal and Nichol 2021,
 * section 4). State-dict keys are those of guided-diffusion's `EncoderUNetModel`. The heads:
 * `attention`: a mean token attends over the pixels of the lowest level (as in CLIP); only for images of `imageSize`;
 * `adaptive`: mean over the lowest level's pixels; `spatial`, `spatial_v2`: means of every stage through two layers,
 * joined by ReLU or by GroupNorm and SiLU.
 */
export class NoisyClassifier extends Module {
  readonly config: ClassifierConfig;
  readonly time_embed: { readonly 0: Linear; readonly 2: Linear };
  readonly input_blocks: readonly Stage[];
  readonly middle_block: Stage;
  readonly out: AttentionHead | AdaptiveHead | SpatialHead | SpatialHeadV2;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClassifierConfig) {
    super();
    validateClassifierConfig(new.target.name, config);
    this.config = config;
    const width = embeddingWidth(config.modelChannels);
    this.time_embed = { 0: new Linear(config.modelChannels, width), 2: new Linear(width, width) };
    const encoder = buildEncoder(config);
    this.input_blocks = encoder.stages;
    this.middle_block = buildMiddle(config);
    this.out = buildHead(config, [...encoder.widths, levelChannels(config).at(-1)!]);
  }

  /**
   * Logits of log p(y | x, t).
   * @param x images `[N, H, W, inChannels]` at the noise level of `time`
   * @param time one number an image, `[N]`, on the scale that the model was trained with (ADM: 0..999; 0 is clean)
   * @returns `[N, classes]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: ClassifierInputs = {}): tf.Tensor2D {
    return tf.tidy(() => this.logits(this.features(x, time, inputs)));
  }

  /** The last linear map: features `[N, D]` to logits `[N, classes]`, a new tensor. */
  logits(features: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => this.out.logits(features));
  }

  /**
   * What the last linear map sees: features of the image for metrics.
   * @returns `[N, D]`, a new tensor; D is the lowest level's width, or 2048 with the spatial heads
   * @throws InvalidArgumentError when a shape does not fit
   */
  features(x: tf.Tensor4D, time: tf.Tensor1D, { rng }: ClassifierInputs = {}): tf.Tensor2D {
    const { inChannels, imageSize, modelChannels, pool } = this.config;
    const problems = [...imageProblems('x', x, inChannels, totalDownsampling(this.config)), ...timeProblems(time, x)];
    if (problems.length === 0 && pool === 'attention' && (x.shape[1] !== imageSize || x.shape[2] !== imageSize)) {
      problems.push(`x: attention pooling takes ${imageSize} x ${imageSize} only, got ${x.shape[1]} x ${x.shape[2]}`);
    }
    throwIf(this.constructor.name, problems);
    return tf.tidy(() => {
      const sinusoidal = timestepEmbedding(time, modelChannels); //                         [N, C]
      const emb = silu(this.time_embed[2].forward(silu(this.time_embed[0].forward(sinusoidal))));
      const maps: tf.Tensor4D[] = [];
      let h = x;
      for (const stage of [...this.input_blocks, this.middle_block]) {
        h = runStage(stage, h, emb, rng);
        maps.push(h);
      }
      return this.out.features(maps);
    });
  }
}

/** A head: features of the feature maps (the last one is the middle's output), and logits of the features. */
interface Head {
  features(maps: readonly tf.Tensor4D[]): tf.Tensor2D;
  logits(features: tf.Tensor2D): tf.Tensor2D;
}

function buildHead(config: ClassifierConfig, widths: readonly number[]) {
  const last = widths.at(-1)!;
  const all = widths.reduce((sum, width) => sum + width, 0);
  switch (config.pool) {
    case 'attention': {
      const side = config.imageSize / totalDownsampling(config);
      return new AttentionHead(side, last, headCount(config.heads, last), config);
    }
    case 'adaptive':
      return new AdaptiveHead(last, config);
    case 'spatial':
      return new SpatialHead(all, config);
    case 'spatial_v2':
      return new SpatialHeadV2(all, config);
  }
}

/** Norm, SiLU and attention pooling. */
class AttentionHead extends Module implements Head {
  readonly 0: GroupNorm;
  readonly 2: AttentionPool;

  constructor(side: number, channels: number, heads: number, { groups, classes }: ClassifierConfig) {
    super();
    this[0] = new GroupNorm(groups, channels);
    this[2] = new AttentionPool(side, channels, heads, classes);
  }

  features(maps: readonly tf.Tensor4D[]): tf.Tensor2D {
    return this[2].pool(silu(this[0].forward(maps.at(-1)!)));
  }

  logits(features: tf.Tensor2D): tf.Tensor2D {
    return this[2].project(features);
  }
}

/** A mean token in front of the pixels, learned positions, one attention; the answer is the mean token's. As in CLIP. */
class AttentionPool extends Module {
  readonly positional_embedding: Param;
  readonly qkv_proj: PointwiseConv1d;
  readonly c_proj: PointwiseConv1d;
  readonly heads: number;

  constructor(side: number, channels: number, heads: number, classes: number) {
    super();
    this.heads = heads;
    this.positional_embedding = new Param([channels, side * side + 1], { init: normal(1 / Math.sqrt(channels)) });
    this.qkv_proj = new PointwiseConv1d(channels, 3 * channels);
    this.c_proj = new PointwiseConv1d(channels, classes);
  }

  pool(x: tf.Tensor4D): tf.Tensor2D {
    const [n, height, width, c] = x.shape;
    const pixels = tf.reshape(x, [n, height * width, c]) as tf.Tensor3D; //           [N, T, C]
    const tokens = tf.concat([tf.mean(pixels, 1, true) as tf.Tensor3D, pixels], 1); // [N, 1 + T, C]
    const positions = tf.expandDims(tf.transpose(this.positional_embedding.value), 0);
    const qkv = this.qkv_proj.forward(tf.add(tokens, positions)); //                  [N, 1 + T, 3C]
    // Only the first token's answer is used, so only it asks; this is always the new order of q, k and v.
    const { q, k, v } = splitQkv(qkv, this.heads, 'new');
    const first = tf.slice(q, [0, 0, 0, 0], [-1, -1, 1, -1]); //                      [N, h, 1, d]
    return tf.squeeze(joinHeads(attention(first, k, v)), [1]); //                     [N, C]
  }

  project(features: tf.Tensor2D): tf.Tensor2D {
    return tf.squeeze(this.c_proj.forward(tf.expandDims(features, 1)), [1]);
  }
}

/** Norm, SiLU, mean over pixels and a pointwise convolution that starts at zero. */
class AdaptiveHead extends Module implements Head {
  readonly 0: GroupNorm;
  readonly 3: Conv2d;

  constructor(channels: number, { groups, classes }: ClassifierConfig) {
    super();
    this[0] = new GroupNorm(groups, channels);
    this[3] = zeroConv(channels, classes, 1);
  }

  features(maps: readonly tf.Tensor4D[]): tf.Tensor2D {
    return pixelMean(silu(this[0].forward(maps.at(-1)!)));
  }

  logits(features: tf.Tensor2D): tf.Tensor2D {
    const [n, c] = features.shape;
    return tf.squeeze(this[3].forward(tf.reshape(features, [n, 1, 1, c])), [1, 2]);
  }
}

/** Means of every stage, two linear maps with a ReLU between. */
class SpatialHead extends Module implements Head {
  readonly 0: Linear;
  readonly 2: Linear;

  constructor(channels: number, { classes }: ClassifierConfig) {
    super();
    this[0] = new Linear(channels, spatialWidth);
    this[2] = new Linear(spatialWidth, classes);
  }

  features(maps: readonly tf.Tensor4D[]): tf.Tensor2D {
    return tf.relu(this[0].forward(tf.concat(maps.map(pixelMean), 1)));
  }

  logits(features: tf.Tensor2D): tf.Tensor2D {
    return this[2].forward(features);
  }
}

/** Means of every stage, two linear maps with GroupNorm and SiLU between. */
class SpatialHeadV2 extends Module implements Head {
  readonly 0: Linear;
  readonly 1: GroupNorm;
  readonly 3: Linear;

  constructor(channels: number, { groups, classes }: ClassifierConfig) {
    super();
    this[0] = new Linear(channels, spatialWidth);
    this[1] = new GroupNorm(groups, spatialWidth);
    this[3] = new Linear(spatialWidth, classes);
  }

  features(maps: readonly tf.Tensor4D[]): tf.Tensor2D {
    return silu(this[1].forward(this[0].forward(tf.concat(maps.map(pixelMean), 1))));
  }

  logits(features: tf.Tensor2D): tf.Tensor2D {
    return this[3].forward(features);
  }
}

/** `[N,H,W,C] -> [N,C]`. */
function pixelMean(x: tf.Tensor4D): tf.Tensor2D {
  return tf.mean(x, [1, 2]);
}
