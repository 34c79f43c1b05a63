import { type Denoiser, InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Formulation } from './classifier-free.js';
import { along } from './per-image.js';
import { fromPyramid, laplacianPyramid } from './pyramid.js';
import { type Scale, scaleAt } from './scale.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/** How strong guidance is in each band of the picture. */
export interface FrequencyOptions {
  /** One scale for each level of the pyramid, the finest first: `[10, 5]` in the paper for SDXL. */
  readonly scales: readonly Scale[];
  /** Weight of each level's part along the conditional prediction; 1 everywhere. */
  readonly parallel?: readonly number[] | undefined;
  /** Formulation as in classifier-free guidance. */
  readonly from?: Formulation | undefined;
}

/** Settings of frequency-decoupled guidance. */
export interface FrequencyDecoupledOptions<C> extends TwoPassOptions<C>, PredictionOption, FrequencyOptions {}

/**
 * Classifier-free guidance in each level of the Laplacian pyramid, with a scale of its own. FDG (Sadat et al. 2025, arXiv
 * 2506.19713), algorithm 2.
 *
 * @throws InvalidArgumentError without scales, or when `parallel` is not one number for each of them
 */
export function combineFrequencyDecoupled({
  scales,
  parallel = scales.map(() => 1),
  from = 'unconditional',
}: FrequencyOptions): Combination {
  if (scales.length === 0 || parallel.length !== scales.length) {
    throw new InvalidArgumentError(
      'frequencyDecoupled',
      `expected at least one scale and a parallel weight for each, got ${scales.length} scales and ${parallel.length} weights`,
    );
  }
  return (c, u, at) =>
    tf.tidy(() => {
      const ofC = laplacianPyramid(c, scales.length);
      const ofU = laplacianPyramid(u, scales.length);
      return fromPyramid(
        ofC.map((band, level) => {
          const free = ofU[level]!;
          const difference = tf.sub<tf.Tensor4D>(band, free);
          const share = parallel[level]!;
          const update =
            share === 1 ? difference : tf.sub<tf.Tensor4D>(difference, tf.mul(along(difference, band), 1 - share));
          return tf.add<tf.Tensor4D>(
            from === 'unconditional' ? free : band,
            tf.mul(update, scaleAt(scales[level]!, at)),
          );
        }),
      );
    });
}

/** Frequency-decoupled guidance: strong in details, mild in composition and colour. */
export function frequencyDecoupled<C>(
  denoiser: Denoiser<C>,
  options: FrequencyDecoupledOptions<NoInfer<C>>,
): Denoiser<C> {
  return guided(denoiser, combineFrequencyDecoupled(options), options);
}
