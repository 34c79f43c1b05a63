import { Module, Param, uniform, type WeightSource } from '@mezzotint/core';
import { Embedding, LayerNorm, Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';
import { type ClipVisionConfig, validateClipVisionConfig } from './config.js';
import { checkSkip, type HiddenStateOptions } from './skip.js';
import { towerAtHome } from './state-dict.js';
import { ClipEncoder, embeddingInit } from './transformer.js';

/** What CLIP says of images. All tensors are new and the caller's to dispose (`tf.dispose(output)`). */
export type ClipVisionOutput = {
  /** The last layer's tokens, class token first, without a norm, `[N, 1 + T, D]`. */
  readonly lastHiddenState: tf.Tensor3D;
  /** The tokens that `skip` asked for, `[N, 1 + T, D]`. */
  readonly hiddenState: tf.Tensor3D;
  /** The normed class token, `[N, D]`. */
  readonly pooled: tf.Tensor2D;
};

/** {@link ClipVisionOutput} with the image's place in the space shared with texts. */
export type ClipVisionProjectionOutput = ClipVisionOutput & {
  /** `pooled` projected, `[N, P]`, of any length. */
  readonly imageEmbeds: tf.Tensor2D;
};

/** A linear map of square patches, kept as a convolution `[D, C, p, p]`. `[N, H, W, C] -> [N, T, D]`. */
class PatchEmbedding extends Module {
  readonly weight: Param;

  constructor({ patchSize, channels, width }: ClipVisionConfig) {
    super();
    const init = uniform(1 / Math.sqrt(channels * patchSize * patchSize));
    this.weight = new Param([patchSize, patchSize, channels, width], { init, layout: 'conv2d' });
  }

  forward(x: tf.Tensor4D): tf.Tensor3D {
    const [n, height, width, channels] = x.shape;
    const [p, , , features] = this.weight.shape as [number, number, number, number];
    const [rows, columns] = [height / p, width / p];
    return tf.tidy(() => {
      // The axes (column, channel) of a patch stay side by side, so five axes are enough.
      const parts = tf.reshape(x, [n, rows, p, columns, p * channels]);
      const patches = tf.reshape(tf.transpose(parts, [0, 1, 3, 2, 4]), [n * rows * columns, p * p * channels]);
      const kernel = tf.reshape(this.weight.value, [p * p * channels, features]);
      return tf.reshape(tf.matMul(patches as tf.Tensor2D, kernel as tf.Tensor2D), [n, rows * columns, features]);
    });
  }
}

/** The class token, patches and positions. State: `class_embedding` `[D]`, `patch_embedding`, `position_embedding`. */
class ClipVisionEmbeddings extends Module {
  readonly class_embedding: Param;
  readonly patch_embedding: PatchEmbedding;
  readonly position_embedding: Embedding;

  constructor(config: ClipVisionConfig) {
    super();
    const { width, imageSize, patchSize } = config;
    this.class_embedding = new Param([width], { init: embeddingInit });
    this.patch_embedding = new PatchEmbedding(config);
    this.position_embedding = new Embedding((imageSize / patchSize) ** 2 + 1, width, { init: embeddingInit });
  }

  /** x `[N, H, W, C]` -> `[N, 1 + T, D]`. */
  forward(x: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const patches = this.patch_embedding.forward(x); //                               [N, T, D]
      const [n, , width] = patches.shape;
      // Added to zeros, not tiled: the sum has a gradient on every engine.
      const first = tf.add(tf.zeros([n, 1, width]), this.class_embedding.value) as tf.Tensor3D;
      return tf.add(tf.concat([first, patches], 1), this.position_embedding.weight.value);
    });
  }
}

/** CLIP's image tower, a vision transformer with a norm before its layers. Radford et al. 2021, section 2.4. */
export class ClipVisionTransformer extends Module {
  readonly embeddings: ClipVisionEmbeddings;
  /** Spelled as in every published checkpoint. */
  readonly pre_layrnorm: LayerNorm;
  readonly encoder: ClipEncoder;
  readonly post_layernorm: LayerNorm;
  readonly config: ClipVisionConfig;

  constructor(config: ClipVisionConfig) {
    super();
    const { width, epsilon } = config;
    this.config = config;
    this.embeddings = new ClipVisionEmbeddings(config);
    this.pre_layrnorm = new LayerNorm(width, { epsilon });
    this.encoder = new ClipEncoder(config);
    this.post_layernorm = new LayerNorm(width, { epsilon });
  }

  forward(pixels: tf.Tensor4D, { skip = 0 }: HiddenStateOptions = {}): ClipVisionOutput {
    checkPixels(pixels, this.config);
    checkSkip('ClipVisionModel', skip, this.config.layers);
    return tf.tidy(() => {
      const x = this.pre_layrnorm.forward(this.embeddings.forward(pixels)); //          [N, 1 + T, D]
      const { last, hidden } = this.encoder.forward(x, skip);
      const first = tf.reshape(tf.slice(last, [0, 0, 0], [-1, 1, -1]), [-1, this.config.width]);
      return { lastHiddenState: last, hiddenState: hidden, pooled: this.post_layernorm.forward(first as tf.Tensor2D) };
    });
  }
}

/** CLIP's image encoder without projection. State: transformers' `CLIPVisionModel` as published, `vision_model.…`. */
export class ClipVisionModel extends Module {
  readonly vision_model: ClipVisionTransformer;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClipVisionConfig) {
    super();
    validateClipVisionConfig('ClipVisionModel', config);
    this.vision_model = new ClipVisionTransformer(config);
  }

  get config(): ClipVisionConfig {
    return this.vision_model.config;
  }

  /**
   * pixels `[N, H, W, C]` of the configuration's size, as {@link clipPixels} makes them.
   *
   * @throws InvalidArgumentError when pixels have another shape, or when there are fewer layers than `skip`
   */
  forward(pixels: tf.Tensor4D, options?: HiddenStateOptions): ClipVisionOutput {
    return this.vision_model.forward(pixels, options);
  }

  /** Takes the names of transformers 5 (without `vision_model.`) and leaves out `position_ids`. */
  override adaptWeights(source: WeightSource): WeightSource {
    return towerAtHome(source, 'vision_model.');
  }
}

/**
 * CLIP's image encoder with projection. State: transformers' `CLIPVisionModelWithProjection`, `vision_model.…` and
 * `visual_projection.weight`.
 */
export class ClipVisionModelWithProjection extends Module {
  readonly config: ClipVisionConfig & { readonly projection: number };
  readonly vision_model: ClipVisionTransformer;
  readonly visual_projection: Linear;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClipVisionConfig & { readonly projection: number }) {
    super();
    this.config = config;
    validateClipVisionConfig('ClipVisionModelWithProjection', config);
    this.vision_model = new ClipVisionTransformer(config);
    this.visual_projection = new Linear(config.width, config.projection, { bias: false });
  }

  /**
   * pixels `[N, H, W, C]` of the configuration's size, as {@link clipPixels} makes them.
   *
   * @throws InvalidArgumentError when pixels have another shape, or when there are fewer layers than `skip`
   */
  forward(pixels: tf.Tensor4D, options?: HiddenStateOptions): ClipVisionProjectionOutput {
    return tf.tidy(() => {
      const output = this.vision_model.forward(pixels, options);
      return { ...output, imageEmbeds: this.visual_projection.forward(output.pooled) };
    });
  }

  /** Leaves out `position_ids`. */
  override adaptWeights(source: WeightSource): WeightSource {
    return towerAtHome(source, 'vision_model.');
  }
}

/** Mean and standard deviation of the training images' red, green and blue in [0, 1]. Published with CLIP's code. */
export const MEAN = [0.48145466, 0.4578275, 0.40821073];
export const DEVIATION = [0.26862954, 0.26130258, 0.27577711];

/** Images in [-1, 1] as CLIP's image tower takes them: ((x + 1) / 2 - mean) / deviation. `[N, H, W, 3]` both. */
export function clipPixels(images: tf.Tensor4D): tf.Tensor4D {
  throwIf('clipPixels', images.shape[3] === 3 ? [] : [`expected images [N, H, W, 3], got [${images.shape}]`]);
  return tf.tidy(() => tf.div(tf.sub(tf.mul(tf.add(images, 1), 0.5), tf.tensor1d(MEAN)), tf.tensor1d(DEVIATION)));
}

function checkPixels(pixels: tf.Tensor4D, { imageSize, channels }: ClipVisionConfig): void {
  const fits = pixels.rank === 4 && String(pixels.shape.slice(1)) === String([imageSize, imageSize, channels]);
  const expected = `pixels: expected [N, ${imageSize}, ${imageSize}, ${channels}]`;
  throwIf('ClipVisionModel', fits ? [] : [`${expected}, got [${pixels.shape}]; resize and crop them`]);
}
