import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import { InvalidArgumentError, stepBoundary } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { NoiseSource } from './noise/noise-source.js';
import { convertSchedule, levelAt, type NoiseSchedule } from './schedules/schedule.js';
import { lastNoisyRow } from './solvers/dpm-fast.js';

/** What a likelihood run may be given. */
export interface LikelihoodOptions {
  /** Where the probes come from: their signs are used (Rademacher). */
  readonly noise: NoiseSource;
  /** Hutchinson probes to average; 1. */
  readonly probes?: number;
  readonly signal?: AbortSignal;
}

/** The likelihood of each image. */
export interface Likelihood {
  /** log p in nats, one for each image. */
  readonly logLikelihood: Float64Array;
  /** -log2 p / (H W C): bits per dimension of the images as given (in [-1, 1]; 7 more for 8-bit values). */
  readonly bitsPerDimension: Float64Array;
  /** The noise that the images came from, `[N, H, W, C]`, in the variance-exploding form; the caller disposes it. */
  readonly latent: tf.Tensor4D;
}

/**
 * log p(x) by the probability-flow ODE: dy/dr = (y - D(y, r)) / r for y = x / alpha, r = sigma / alpha, solved from the table's
 * last noisy row up to its first by Heun's method, with d log p / dr = -tr(d slope / d y) estimated by Hutchinson's probes
 * and N(0, r_max^2) at the end. Song et al. 2021 (arXiv 2011.13456), section 4.3; k-diffusion, log_likelihood.
 *
 * Needs gradients (`@tensorflow/tfjs` or `@mezzotint/backend`). Two evaluations and two gradients a row and probe.
 *
 * @param images x `[N, H, W, C]` at the last noisy row's level (nearly clean); not disposed
 * @throws InvalidArgumentError when the table starts without signal or probes is not a positive integer; the signal's reason
 */
export async function logLikelihood<C = void>(
  model: Denoiser<C>,
  images: tf.Tensor4D,
  table: NoiseSchedule<'vp' | 've'>,
  cond: C,
  { noise, probes = 1, signal }: LikelihoodOptions,
): Promise<Likelihood> {
  if (!(Number.isInteger(probes) && probes >= 1)) {
    throw new InvalidArgumentError('logLikelihood', `probes must be a positive integer, got ${probes}`);
  }
  if (table.alpha[0] === 0) {
    throw new InvalidArgumentError('logLikelihood', 'the first row is pure noise (alpha 0): start the table lower');
  }
  const rows = convertSchedule(table, 've');
  const [n, h, w, c] = images.shape;
  const size = h * w * c;
  const signs = Array.from({ length: probes }, () =>
    tf.tensor4d(
      noise.draw(images.shape, 0, 0).map((z) => (z < 0 ? -1 : 1)),
      images.shape,
    ),
  );
  const last = lastNoisyRow(table);
  let y = tf.tidy(() => tf.div<tf.Tensor4D>(images, table.alpha[last]!));
  const logP = new Float64Array(n);
  try {
    for (let row = last; row > 0; row--) {
      signal?.throwIfAborted();
      const [from, to] = [levelAt(rows, row), levelAt(rows, row - 1)];
      const step = to.sigma - from.sigma;
      const a = slopeAndTrace(model, y, from, cond, signs);
      const ahead = tf.tidy(() => tf.add<tf.Tensor4D>(y, tf.mul(a.slope, step)));
      const b = slopeAndTrace(model, ahead, to, cond, signs);
      const next = tf.tidy(() => tf.add<tf.Tensor4D>(y, tf.mul(tf.add(a.slope, b.slope), step / 2)));
      stepBoundary();
      const [ta, tb] = [await a.trace.data(), await b.trace.data()];
      for (let i = 0; i < n; i++) logP[i]! += (step / 2) * (ta[i]! + tb[i]!);
      tf.dispose([a, b, ahead, y]);
      y = next;
    }
  } catch (error) {
    y.dispose();
    throw error;
  } finally {
    tf.dispose(signs);
  }
  const square = tf.tidy(() => tf.sum(tf.square(y), [1, 2, 3]));
  const norms = await square.data();
  square.dispose();
  const top = rows.sigma[0]!;
  for (let i = 0; i < n; i++) logP[i]! -= (size / 2) * Math.log(2 * Math.PI * top ** 2) + norms[i]! / (2 * top ** 2);
  // log p of x = alpha y is that of y less log alpha for each number.
  const logLikelihoods = logP.map((value) => value - size * Math.log(table.alpha[last]!));
  return {
    logLikelihood: logLikelihoods,
    bitsPerDimension: logLikelihoods.map((value) => -value / (size * Math.LN2)),
    latent: y,
  };
}

/** slope = (y - D) / r and, for each image, the mean over probes of v . (v - J^T v) / r. */
function slopeAndTrace<C>(
  model: Denoiser<C>,
  y: tf.Tensor4D,
  at: NoiseLevel,
  cond: C,
  probes: readonly tf.Tensor4D[],
): { readonly slope: tf.Tensor4D; readonly trace: tf.Tensor1D } {
  return tf.tidy(() => {
    const pull = tf.grad((z) => model(z as tf.Tensor4D, at, cond));
    const traces = probes.map((v) => {
      const pulled = pull(y, v);
      return tf.sum<tf.Tensor1D>(tf.mul(v, tf.sub(v, pulled)), [1, 2, 3]);
    });
    const total = traces.reduce((sum, t) => tf.add<tf.Tensor1D>(sum, t));
    return {
      slope: tf.div<tf.Tensor4D>(tf.sub(y, model(y, at, cond)), at.sigma),
      trace: tf.div<tf.Tensor1D>(total, at.sigma * probes.length),
    };
  });
}
