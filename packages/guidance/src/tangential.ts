import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { isNeutral, type ScaleOptions } from './classifier-free.js';
import { dotPerImage } from './per-image.js';
import { scaleAt } from './scale.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/** Settings of tangential guidance. */
export interface TangentialOptions<C> extends TwoPassOptions<C>, ScaleOptions, PredictionOption {}

/**
 * Classifier-free guidance from u' = <u, v> v, v the first right singular vector of the two rows c and u of each image:
 * what the unconditional prediction does across the conditional one is left out. TCFG (Kwon et al. 2025, arXiv
 * 2503.18137).
 */
export function combineTangential({ scale, from = 'unconditional' }: ScaleOptions): Combination {
  return (c, u, at) =>
    tf.tidy(() => {
      const shared = alongMainDirection(c, u);
      return tf.add(from === 'unconditional' ? shared : c, tf.mul(tf.sub(c, shared), scaleAt(scale, at)));
    });
}

/** Tangential classifier-free guidance. */
export function tangential<C>(denoiser: Denoiser<C>, options: TangentialOptions<NoInfer<C>>): Denoiser<C> {
  return guided(denoiser, combineTangential(options), options, isNeutral(options));
}

/**
 * v = (a c + b u) / sqrt(l) with l, (a, b) the larger eigenvalue and its eigenvector of the Gram matrix
 * [[cc, cu], [cu, uu]]; <u, v> v needs only a^2, a b and b^2, which are rational in the matrix and the root of its
 * discriminant: no decomposition, no angle.
 */
function alongMainDirection(c: tf.Tensor4D, u: tf.Tensor4D): tf.Tensor4D {
  const [cc, cu, uu] = [dotPerImage(c, c), dotPerImage(c, u), dotPerImage(u, u)]; //  [N, 1, 1, 1] each
  const half = tf.div(tf.sub(cc, uu), 2);
  const root = tf.maximum(tf.sqrt(tf.add(tf.square(half), tf.square(cu))), 1e-30);
  const a2 = tf.div(tf.add(tf.div(half, root), 1), 2);
  const b2 = tf.sub(1, a2);
  const ab = tf.div(tf.div(cu, root), 2);
  const eigenvalue = tf.maximum(tf.add(tf.div(tf.add(cc, uu), 2), root), 1e-30);
  const ofC = tf.div(tf.add(tf.mul(a2, cu), tf.mul(ab, uu)), eigenvalue);
  const ofU = tf.div(tf.add(tf.mul(ab, cu), tf.mul(b2, uu)), eigenvalue);
  return tf.add(tf.mul(c, ofC), tf.mul(u, ofU));
}
