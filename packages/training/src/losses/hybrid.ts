import { InvalidArgumentError, type RandomStream } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { checkAlphasCumprod, uniformTimesteps } from '../noise-levels/levels.js';
import { noiseLevels } from '../noise-levels/noise-distribution.js';
import { independent, type Uniforms } from '../noise-levels/uniforms.js';
import { type CleanBatch, diffuse, type NetworkFunction, perExample, times } from './denoising-loss.js';
import { discretizedGaussianNll, normalKl } from './gaussian-terms.js';
import { stopGradient } from './stop-gradient.js';

/** The discrete process and the weight of the variational bound. */
export interface HybridLossOptions {
  /** alphaBar_t for t = 0 .. T-1. */
  readonly alphasCumprod: ArrayLike<number>;
  /** How the steps of a batch spread; `independent` when absent. */
  readonly uniforms?: Uniforms;
  /** lambda of the bound; 0.001 when absent. */
  readonly vlbWeight?: number;
}

/**
 * L_hybrid = L_simple + lambda L_vlb of Improved DDPM (Nichol and Dhariwal 2021), eq. 16, for a network that answers
 * `[N, H, W, 2C]`: eps, and the share v in [-1, 1] of the log variance (eq. 15). The bound is estimated by T times its
 * term at the drawn step, in bits a dimension; no gradient of it reaches eps. Draws the steps, then the noise.
 *
 * @throws InvalidArgumentError when the process is no process or the network does not answer twice the channels
 */
export function hybridLoss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { alphasCumprod, uniforms = independent, vlbWeight = 0.001 }: HybridLossOptions,
): tf.Scalar {
  checkAlphasCumprod('hybridLoss', alphasCumprod);
  return tf.tidy(() => {
    const levels = noiseLevels(uniformTimesteps(alphasCumprod), uniforms)(x0.shape[0], rng);
    const { noisy, noise } = diffuse(x0, levels, rng);
    const steps = levels.map((level) => level.time);
    const answer = net(noisy, times(steps), cond);
    const channels = x0.shape[3];
    if (answer.shape[3] !== 2 * channels) {
      throw new InvalidArgumentError(
        'hybridLoss',
        `the network must answer ${2 * channels} channels (eps and variance), got ${answer.shape[3]}; build it with learned variance`,
      );
    }
    const [eps, share] = tf.split(answer, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    const simple = tf.mean(tf.squaredDifference(eps, noise));
    const bound = tf.mean(vlbTerm(x0, noisy, stopGradient(eps), share, steps, alphasCumprod));
    return tf.add<tf.Scalar>(simple, tf.mul(bound, vlbWeight * alphasCumprod.length));
  });
}

/**
 * The term of the variational bound at each example's step, bits, elementwise `[N, H, W, C]`: KL(q(x_{t-1} | x_t, x0) ||
 * p(x_{t-1} | x_t)), and -log p(x0 | x_1) at t = 0. DDPM, eq. 5 with eq. 7; the model's variance by Improved DDPM, eq. 15.
 */
export function vlbTerm(
  x0: tf.Tensor4D,
  noisy: tf.Tensor4D,
  eps: tf.Tensor4D,
  share: tf.Tensor4D,
  steps: readonly number[],
  alphasCumprod: ArrayLike<number>,
): tf.Tensor4D {
  return tf.tidy(() => {
    const rows = steps.map((t) => posterior(alphasCumprod, t));
    const column = (pick: (row: Posterior) => number) => perExample(rows.map(pick));
    const ofX0 = column((row) => row.ofX0);
    const ofNoisy = tf.mul(
      column((row) => row.ofNoisy),
      noisy,
    );
    const trueMean = tf.add<tf.Tensor4D>(tf.mul(ofX0, x0), ofNoisy);
    const logBetaTilde = column((row) => row.logBetaTilde);

    const guess = tf.sub(
      tf.mul(
        column((row) => row.x0OfNoisy),
        noisy,
      ),
      tf.mul(
        column((row) => row.x0OfEps),
        eps,
      ),
    );
    const mean = tf.add<tf.Tensor4D>(tf.mul(ofX0, guess), ofNoisy);
    const fraction = tf.mul(tf.add(share, 1), 0.5);
    const logVariance = tf.add<tf.Tensor4D>(
      tf.mul(
        fraction,
        column((row) => row.logBeta - row.logBetaTilde),
      ),
      logBetaTilde,
    );

    const kl = normalKl(trueMean, logBetaTilde, mean, logVariance);
    if (!steps.includes(0)) return tf.mul<tf.Tensor4D>(kl, 1 / Math.LN2);
    const first = perExample(steps.map((t) => (t === 0 ? 1 : 0)));
    const nll = discretizedGaussianNll(x0, mean, tf.mul(logVariance, 0.5));
    return tf.mul<tf.Tensor4D>(tf.add(kl, tf.mul(first, tf.sub(nll, kl))), 1 / Math.LN2);
  });
}

/** Numbers of the posterior q(x_{t-1} | x_t, x0) = N(ofX0 x0 + ofNoisy x_t, beta tilde), and x0 from x_t and eps. */
interface Posterior {
  readonly ofX0: number;
  readonly ofNoisy: number;
  readonly logBeta: number;
  readonly logBetaTilde: number;
  readonly x0OfNoisy: number;
  readonly x0OfEps: number;
}

/** DDPM, eq. 6 and 7. beta tilde is 0 at t = 0, where the one of t = 1 stands in (Improved DDPM's code). */
function posterior(alphasCumprod: ArrayLike<number>, t: number): Posterior {
  const bar = alphasCumprod[t]!;
  const before = t === 0 ? 1 : alphasCumprod[t - 1]!;
  const beta = 1 - bar / before;
  return {
    ofX0: (beta * Math.sqrt(before)) / (1 - bar),
    ofNoisy: ((1 - before) * Math.sqrt(bar / before)) / (1 - bar),
    logBeta: Math.log(beta),
    logBetaTilde: Math.log(betaTilde(alphasCumprod, alphasCumprod.length === 1 ? 0 : Math.max(t, 1))),
    x0OfNoisy: 1 / Math.sqrt(bar),
    x0OfEps: Math.sqrt(1 / bar - 1),
  };
}

function betaTilde(alphasCumprod: ArrayLike<number>, t: number): number {
  const bar = alphasCumprod[t]!;
  if (t === 0) return 1 - bar;
  const before = alphasCumprod[t - 1]!;
  return ((1 - bar / before) * (1 - before)) / (1 - bar);
}
