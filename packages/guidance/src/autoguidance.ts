import type { Denoiser } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Scale, scaleAt } from './scale.js';

/** Settings of autoguidance. */
export interface AutoguidanceOptions<C> {
  /** A smaller or less trained network of the same task, on the same condition. */
  readonly weaker: Denoiser<C>;
  /** The paper's w: 1 is the main network as it is. */
  readonly scale: Scale;
}

/**
 * Autoguidance: w D(x) + (1 - w) D_weaker(x). Karras et al. 2024 (arXiv 2406.02507), section 3.
 *
 * @returns a denoiser of x `[N, H, W, C]`; at w = 1 the weaker network is not run
 */
export function autoguidance<C>(
  denoiser: Denoiser<C>,
  { weaker, scale }: AutoguidanceOptions<NoInfer<C>>,
): Denoiser<C> {
  return awayFrom(denoiser, weaker, (at) => scaleAt(scale, at) - 1);
}

/** D + s (D - D_worse): away from what a worse denoiser would say; at s = 0 that one is not run. */
export function awayFrom<C>(denoiser: Denoiser<C>, worse: Denoiser<NoInfer<C>>, scale: Scale): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const estimate = denoiser(x, at, cond);
      const strength = scaleAt(scale, at);
      if (strength === 0) return tf.clone(estimate);
      return tf.add(estimate, tf.mul(tf.sub(estimate, worse(x, at, cond)), strength));
    });
}
