import { constant, Module, Param, type WeightSource } from '@mezzotint/core';
import { Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type ClipConfig, validateClipConfig } from './config.js';
import { towerAtHome } from './state-dict.js';
import { ClipTextTransformer } from './text.js';
import { ClipVisionTransformer } from './vision.js';

/** How texts and images compare. All tensors are new and the caller's to dispose (`tf.dispose(output)`). */
export type ClipOutput = {
  /** Texts in the shared space, of length 1, `[N, P]`. */
  readonly textEmbeds: tf.Tensor2D;
  /** Images in the shared space, of length 1, `[M, P]`. */
  readonly imageEmbeds: tf.Tensor2D;
  /** exp(logit_scale) times the cosines of images and texts, `[M, N]`. */
  readonly logitsPerImage: tf.Tensor2D;
};

/** log(1 / 0.07): the temperature at which CLIP starts. Radford et al. 2021, section 2.5. */
const LOGIT_SCALE = Math.log(1 / 0.07);

/**
 * Both towers of CLIP. State: transformers' `CLIPModel`: `text_model.…`, `vision_model.…`, `visual_projection.weight`,
 * `text_projection.weight`, `logit_scale`. Radford et al. 2021.
 */
export class ClipModel extends Module {
  readonly logit_scale: Param;
  readonly text_model: ClipTextTransformer;
  readonly vision_model: ClipVisionTransformer;
  readonly visual_projection: Linear;
  readonly text_projection: Linear;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClipConfig) {
    super();
    validateClipConfig('ClipModel', config);
    const width = config.text.projection!;
    this.logit_scale = new Param([], { init: constant(LOGIT_SCALE) });
    this.text_model = new ClipTextTransformer(config.text);
    this.vision_model = new ClipVisionTransformer(config.vision);
    this.visual_projection = new Linear(config.vision.width, width, { bias: false });
    this.text_projection = new Linear(config.text.width, width, { bias: false });
  }

  get config(): ClipConfig {
    return { text: this.text_model.config, vision: this.vision_model.config };
  }

  /** ids int32 `[N, T]` -> texts in the shared space, of length 1, `[N, P]`. */
  embedText(ids: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => toUnitLength(this.text_projection.forward(this.text_model.forward(ids).pooled)));
  }

  /** pixels `[M, H, W, C]`, as {@link clipPixels} makes them -> images in the shared space, of length 1, `[M, P]`. */
  embedImages(pixels: tf.Tensor4D): tf.Tensor2D {
    return tf.tidy(() => toUnitLength(this.visual_projection.forward(this.vision_model.forward(pixels).pooled)));
  }

  /**
   * ids int32 `[N, T]`, pixels `[M, H, W, C]`.
   *
   * @throws InvalidArgumentError when ids or pixels have another shape or type
   */
  forward(ids: tf.Tensor2D, pixels: tf.Tensor4D): ClipOutput {
    return tf.tidy(() => {
      const textEmbeds = this.embedText(ids);
      const imageEmbeds = this.embedImages(pixels);
      const cosines: tf.Tensor2D = tf.matMul(imageEmbeds, textEmbeds, false, true);
      const logitsPerImage: tf.Tensor2D = tf.mul(cosines, tf.exp(this.logit_scale.value));
      return { textEmbeds, imageEmbeds, logitsPerImage };
    });
  }

  /** Leaves out `position_ids`. */
  override adaptWeights(source: WeightSource): WeightSource {
    return towerAtHome(source, '');
  }
}

function toUnitLength(x: tf.Tensor2D): tf.Tensor2D {
  return tf.div(x, tf.sqrt(tf.sum(tf.square(x), 1, true)));
}
