import type { Denoiser } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** The boundary condition of latent consistency models. */
export interface BoundaryOptions {
  readonly sigmaData?: number;
  /** Factor of the time index in the two weights; 10. */
  readonly timeScale?: number;
}

/**
 * The consistency function of an LCM from its estimate: f = c_skip x + c_out D, c_skip = s^2 / (u^2 + s^2), c_out =
 * u / sqrt(u^2 + s^2), u = timeScale t, s = sigmaData, so that f(x, 0) = x. Luo et al. 2023 (arXiv 2310.04378), section 3.
 *
 * @throws InvalidArgumentError (when called) at a level without a time
 */
export function consistencyBoundary<C>(
  model: Denoiser<C>,
  { sigmaData = 0.5, timeScale = 10 }: BoundaryOptions = {},
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      if (at.time === undefined) throw new InvalidArgumentError('consistencyBoundary', 'needs a table with times');
      const total = Math.hypot(timeScale * at.time, sigmaData);
      const skip = (sigmaData / total) ** 2;
      return tf.add(tf.mul(x, skip), tf.mul(model(x, at, cond), (timeScale * at.time) / total));
    });
}
