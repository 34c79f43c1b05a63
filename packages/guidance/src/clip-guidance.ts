import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { estimateGuidance } from './classifier-guidance.js';
import type { Scale } from './scale.js';

/** Settings of CLIP guidance. */
export interface ClipGuidanceOptions {
  readonly scale: Scale;
  /** Embeds images in [-1, 1], `[N, H, W, C] -> [N, D]`; differentiable. Resizing and cutouts are its own affair. */
  readonly embedImage: (images: tf.Tensor4D) => tf.Tensor2D;
  /** Embedding of the wanted text or picture, `[1 or N, D]`; not disposed. */
  readonly target: tf.Tensor2D;
}

/**
 * CLIP guidance: `estimateGuidance` with log p = -`sphericalDistance` of the estimate's embedding to the target. GLIDE
 * (Nichol et al. 2022, arXiv 2112.10741), on estimates; the loss of k-diffusion's sample_clip_guided.
 *
 * @returns a denoiser of x `[N, H, W, C]`
 * @throws InvalidArgumentError at alpha = 0
 */
export function clipGuidance<C>(
  denoiser: Denoiser<C>,
  { scale, embedImage, target }: ClipGuidanceOptions,
): Denoiser<C> {
  return estimateGuidance(denoiser, {
    scale,
    logProbability: (images) => tf.neg(sphericalDistance(embedImage(images), target)),
  });
}

/**
 * Half the squared angle between embeddings: 2 asin(|a - b| / 2)^2 of the normalised vectors. `[N, D]`, `[1 or N, D]`
 * gives `[N]`.
 */
export function sphericalDistance(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor1D {
  return tf.tidy(() => {
    const square = tf.sum(tf.square(tf.sub(unit(a), unit(b))), 1);
    // The two small numbers keep the gradients of the root at 0 and of asin at 1 finite.
    const half = tf.mul(tf.sqrt(tf.add(square, 1e-12)), 0.5 * (1 - 1e-6));
    return tf.mul(tf.square(tf.asin(half)), 2);
  });
}

function unit(a: tf.Tensor2D): tf.Tensor2D {
  return tf.div(a, tf.sqrt(tf.add(tf.sum(tf.square(a), 1, true), 1e-24)));
}
