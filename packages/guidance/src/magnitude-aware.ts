import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Formulation } from './classifier-free.js';
import { normPerImage } from './per-image.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/** How strong, and how fast the strength falls where the two passes disagree. */
export interface MagnitudeOptions {
  readonly scale: number;
  /** How fast it falls; 8. */
  readonly damping?: number | undefined;
  /** Formulation as in classifier-free guidance. */
  readonly from?: Formulation | undefined;
}

/** Settings of magnitude-aware guidance. */
export interface MagnitudeAwareOptions<C> extends TwoPassOptions<C>, PredictionOption, MagnitudeOptions {}

/**
 * Classifier-free guidance with a scale for each image: w = 1 + (s - 1) exp(-a |c - u| / |u|), or s exp(-a |c - u| / |u|)
 * when the difference is added to c. MAMBO-G (arXiv 2508.03442).
 */
export function combineMagnitudeAware({ scale, damping = 8, from = 'unconditional' }: MagnitudeOptions): Combination {
  return (c, u) =>
    tf.tidy(() => {
      const difference = tf.sub<tf.Tensor4D>(c, u);
      const ratio = tf.div(normPerImage(difference), normPerImage(u));
      const fall = tf.exp(tf.mul(ratio, -damping)); //                                [N, 1, 1, 1]
      return from === 'unconditional'
        ? tf.add(u, tf.mul(difference, tf.add(tf.mul(fall, scale - 1), 1)))
        : tf.add(c, tf.mul(difference, tf.mul(fall, scale)));
    });
}

/** Magnitude-aware guidance: weak where guidance would change much, as in the first steps. */
export function magnitudeAware<C>(denoiser: Denoiser<C>, options: MagnitudeAwareOptions<NoInfer<C>>): Denoiser<C> {
  return guided(denoiser, combineMagnitudeAware(options), options);
}
