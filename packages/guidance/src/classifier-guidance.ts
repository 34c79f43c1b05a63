import {
  type Denoiser,
  InvalidArgumentError,
  type NoiseLevel,
  type NoiseLevels,
  type VarianceDenoiser,
} from '@mezzotint/core';
import { posterior } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { type Scale, scaleAt } from './scale.js';

/**
 * log p(y | x) of a classifier that was trained on noisy images, for each image of the batch: `[N]`. Differentiable in
 * `x`, which stands at the noise level `at`.
 */
export type LogProbability<C> = (x: tf.Tensor4D, at: NoiseLevel, cond: C) => tf.Tensor1D;

/** Settings of a guidance by a gradient. */
export interface GradientGuidanceOptions<C> {
  /** 1 is Bayes' rule; more sharpens; 0 leaves the denoiser as it is. */
  readonly scale: Scale;
  readonly logProbability: LogProbability<C>;
}

/**
 * Classifier guidance: eps' = eps - sigma scale grad_x log p(y | x), which for the x0 estimate is
 * D' = D + scale (sigma^2 / alpha) grad_x log p(y | x). Dhariwal & Nichol 2021, eq. 14 and algorithm 2.
 *
 * @returns a denoiser of x `[N, H, W, C]`
 * @throws InvalidArgumentError at alpha = 0, where x holds nothing of x0 and the estimate cannot be moved through it
 */
export function classifierGuidance<C>(
  denoiser: Denoiser<C>,
  { scale, logProbability }: GradientGuidanceOptions<C>,
): Denoiser<C> {
  if (scale === 0) return denoiser;
  return (x, at, cond) => {
    const weight = noiseWeight('classifierGuidance', scale, at);
    return tf.tidy(() => {
      const estimate = denoiser(x, at, cond);
      const gradient = tf.grad((noisy) => tf.sum(logProbability(noisy as tf.Tensor4D, at, cond)))(x); // [N, H, W, C]
      return tf.add(estimate, tf.mul(gradient, weight)) as tf.Tensor4D;
    });
  };
}

/**
 * Classifier guidance of ancestral steps with a learned variance: the mean of each step moves by Sigma scale grad_x log p(y | x), Sigma
 * the step's own variance, element by element. Dhariwal & Nichol 2021, algorithm 1, as guided-diffusion's `condition_mean`: the estimate
 * moves by that over its weight in the mean. For a model whose estimates are clipped already.
 *
 * @param options schedule, the noise levels of the run, whose rows the steps start from
 * @throws InvalidArgumentError (when called) at a level that is not a row of the schedule
 */
export function classifierMeanGuidance<C>(
  model: VarianceDenoiser<C>,
  { scale, logProbability, schedule }: GradientGuidanceOptions<C> & { readonly schedule: NoiseLevels },
): VarianceDenoiser<C> {
  if (scale === 0) return model;
  return (x, at, cond) => {
    const { weight, small, large } = stepOf(schedule, at);
    const { x0, interpolation } = model(x, at, cond);
    const moved = tf.tidy(() => {
      const gradient = tf.grad((noisy) => tf.sum(logProbability(noisy as tf.Tensor4D, at, cond)))(x); // [N, H, W, C]
      // log Sigma = v log beta + (1 - v) log beta~. Nichol & Dhariwal 2021, eq. 15.
      const widths = tf.exp(tf.add(tf.mul(interpolation, Math.log(large) - Math.log(small)), Math.log(small)));
      return tf.add(x0, tf.mul(tf.mul(gradient, widths), scaleAt(scale, at) / weight)) as tf.Tensor4D;
    });
    x0.dispose();
    return { x0: moved, interpolation };
  };
}

/** The weight of the estimate in the mean of the step from a level, and the two variances; the last step's smaller one is the last but one's. */
function stepOf(schedule: NoiseLevels, at: NoiseLevel): { weight: number; small: number; large: number } {
  const { alpha, sigma } = schedule;
  const row = sigma.findIndex((s, i) => s === at.sigma && alpha[i] === at.alpha);
  if (row < 0 || row === sigma.length - 1) {
    throw new InvalidArgumentError(
      'classifierMeanGuidance',
      `alpha ${at.alpha}, sigma ${at.sigma} is no row of the schedule`,
    );
  }
  const step = (i: number) =>
    posterior({ alpha: alpha[i]!, sigma: sigma[i]! }, { alpha: alpha[i + 1]!, sigma: sigma[i + 1]! });
  const { q, small, large } = step(row);
  const clipped = small > 0 ? small : row > 0 ? step(row - 1).small : large;
  return { weight: q, small: clipped, large };
}

/**
 * Guidance by anything that judges clean images: D' = D + scale (sigma^2 / alpha) grad_x log p(y | D(x)). The gradient
 * goes through the network, which must be differentiable. Universal guidance (Bansal et al. 2023, arXiv 2302.07121),
 * "forward guidance"; DPS (Chung et al. 2023, arXiv 2209.14687); k-diffusion's conditioned denoiser.
 *
 * @param options logProbability of clean images: it is given the estimate
 * @returns a denoiser of x `[N, H, W, C]`
 * @throws InvalidArgumentError at alpha = 0
 */
export function estimateGuidance<C>(
  denoiser: Denoiser<C>,
  { scale, logProbability }: GradientGuidanceOptions<C>,
): Denoiser<C> {
  if (scale === 0) return denoiser;
  return (x, at, cond) => {
    const weight = noiseWeight('estimateGuidance', scale, at);
    return tf.tidy(() => {
      let estimate: tf.Tensor4D | undefined;
      try {
        const gradient = tf.grad((noisy) => {
          const clean = denoiser(noisy as tf.Tensor4D, at, cond);
          estimate = tf.keep(tf.clone(clean)); // outlives the gradient's own tidy
          return tf.sum(logProbability(clean, at, cond));
        })(x);
        return tf.add(estimate!, tf.mul(gradient, weight)) as tf.Tensor4D;
      } finally {
        estimate?.dispose();
      }
    });
  };
}

/**
 * The same without the way through the network: D' = D + scale grad_D log p(y | D). It takes the covariance of x0 given x
 * as scale times the identity (it is (sigma^2 / alpha) dD/dx); cheaper, and works at alpha = 0. Universal guidance,
 * "backward guidance", in one step.
 *
 * @param options scale, in squared units of the images; a function of the noise level in practice
 * @returns a denoiser of x `[N, H, W, C]`
 */
export function directEstimateGuidance<C>(
  denoiser: Denoiser<C>,
  { scale, logProbability }: GradientGuidanceOptions<C>,
): Denoiser<C> {
  if (scale === 0) return denoiser;
  return (x, at, cond) =>
    tf.tidy(() => {
      const estimate = denoiser(x, at, cond);
      const gradient = tf.grad((clean) => tf.sum(logProbability(clean as tf.Tensor4D, at, cond)))(estimate);
      return tf.add(estimate, tf.mul(gradient, scaleAt(scale, at))) as tf.Tensor4D;
    });
}

/** scale sigma^2 / alpha: what turns a gradient in x into a change of the estimate (Tweedie's formula). */
function noiseWeight(who: string, scale: Scale, at: NoiseLevel): number {
  if (at.alpha === 0) {
    throw new InvalidArgumentError(who, 'alpha is 0 at this noise level: start at a level with alpha > 0');
  }
  return (scaleAt(scale, at) * at.sigma ** 2) / at.alpha;
}
