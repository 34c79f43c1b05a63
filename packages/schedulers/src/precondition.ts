import type { Denoiser, NoiseLevel, VarianceDenoiser } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { withClipping } from './clipping.js';
import type { Parameterisation } from './parameterisation.js';
import type { TimeOf } from './schedules/time-of.js';

/**
 * A network as the solvers see it: images `[N, H, W, C]` scaled as it was trained, times `[N]` float32 (all equal), and
 * what it is conditioned on; the answer is its raw prediction `[N, H, W, C]`.
 */
export type Network<C = void> = (x: tf.Tensor4D, time: tf.Tensor1D, cond: C) => tf.Tensor4D;

/** How the network's time is found. */
export interface DenoiserOptions {
  /** Time of a level; by default the table's own, where it has one. Needed by solvers that look between rows. */
  readonly clock?: TimeOf;
}

/**
 * The Denoiser of a network: D(x) = skip x + output F(input x, time), with the three numbers of `parameterisation`.
 *
 * @throws InvalidArgumentError (when called) at a level without a time and without a clock, or where the
 *   parameterisation says nothing, as eps does at alpha = 0
 */
export function denoiser<C = void>(
  network: Network<C>,
  parameterisation: Parameterisation,
  options: DenoiserOptions = {},
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const { input, skip, output } = weightsOf(parameterisation, at);
      const f = network(tf.mul(x, input), times(x, at, options.clock), cond);
      return tf.add(tf.mul(x, skip), tf.mul(f, output));
    });
}

/**
 * The same for a network with a learned variance: `[N, H, W, 2C]`, first the prediction, then v in [-1, 1], whose interpolation
 * is (v + 1) / 2. Improved DDPM, eq. 15; ADM, DiT.
 */
export function varianceDenoiser<C = void>(
  network: Network<C>,
  parameterisation: Parameterisation,
  options: DenoiserOptions = {},
): VarianceDenoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const { input, skip, output } = weightsOf(parameterisation, at);
      const f = network(tf.mul(x, input), times(x, at, options.clock), cond);
      const channels = x.shape[3];
      if (f.shape[3] !== 2 * channels) {
        throw new InvalidArgumentError(
          'varianceDenoiser',
          `expected ${2 * channels} channels (prediction and variance) of the network, got ${f.shape[3]}`,
        );
      }
      const [prediction, v] = tf.split(f, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
      return {
        x0: tf.add<tf.Tensor4D>(tf.mul(x, skip), tf.mul(prediction, output)),
        interpolation: tf.div<tf.Tensor4D>(tf.add(v, 1), 2),
      };
    });
}

/** Leaves the variance out, so that any solver can use a network that also learned it. */
export function withoutVariance<C>(model: VarianceDenoiser<C>): Denoiser<C> {
  return (x, at, cond) => tf.tidy(() => model(x, at, cond).x0);
}

/** Keeps every estimate in [-limit, limit]: for pixels, where x0 is known to lie there. ADM's clip_denoised. */
export function clamped<C>(model: Denoiser<C>, limit = 1): Denoiser<C> {
  return withClipping(model, { kind: 'clip', range: limit });
}

/** `clamped` for a network with learned variance. */
export function clampedWithVariance<C>(model: VarianceDenoiser<C>, limit = 1): VarianceDenoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      const { x0, interpolation } = model(x, at, cond);
      return { x0: tf.clipByValue(x0, -limit, limit), interpolation };
    });
}

/**
 * Dynamic thresholding: clips each image's estimate to [-s, s], s the given quantile of its |x0| (at least 1, at most `max`),
 * and divides by s. Imagen (Saharia et al. 2022, arXiv 2205.11487), section 2.3. The numbers are sorted on the host, once a
 * step.
 *
 * @param options quantile, 0.995; max, the largest s, 1 (which is `clamped`) in diffusers, Infinity in the paper
 */
export function thresholded<C>(
  model: Denoiser<C>,
  { quantile = 0.995, max = Number.POSITIVE_INFINITY }: { readonly quantile?: number; readonly max?: number } = {},
): Denoiser<C> {
  return withClipping(model, { kind: 'threshold', quantile, max });
}

function weightsOf(parameterisation: Parameterisation, at: NoiseLevel) {
  const weights = parameterisation(at);
  if (!Number.isFinite(weights.skip + weights.output + weights.input)) {
    throw new InvalidArgumentError(
      'denoiser',
      `this prediction says nothing about x0 at alpha ${at.alpha}, sigma ${at.sigma}; start later or use a network that predicts v, x0 or flow`,
    );
  }
  return weights;
}

function times(x: tf.Tensor4D, at: NoiseLevel, clock: TimeOf | undefined): tf.Tensor1D {
  const time = at.time ?? clock?.(at);
  if (time === undefined) {
    throw new InvalidArgumentError(
      'denoiser',
      `no time is known for alpha ${at.alpha}, sigma ${at.sigma}: this solver looks between the rows of the table (or the table has no times); give the denoiser a clock, for example discreteTime(process)`,
    );
  }
  return tf.tensor1d(new Float32Array(x.shape[0]).fill(time));
}
