import { InvalidArgumentError, type RandomStream, stopGradient } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import {
  checkProcess,
  type ForwardProcess,
  independent,
  noiseLevels,
  type Uniforms,
  uniformTimesteps,
} from '../noise-levels/levels.js';
import { type CleanBatch, diffuse, type NetworkFunction, perExample, times } from './denoising.js';

/** The discrete process and the weight of the variational bound. */
export interface HybridLossOptions {
  readonly process: ForwardProcess;
  /** How the steps of a batch spread; `independent` when absent. */
  readonly uniforms?: Uniforms;
  /** lambda of the bound; 0.001 when absent. */
  readonly vlbWeight?: number;
}

/**
 * L_hybrid = L_simple + lambda L_vlb of Improved DDPM (Nichol and Dhariwal 2021), eq. 16, for a network that answers
 * `[N, H, W, 2C]`: eps, and v in [-1, 1], the interpolation of the log variance (eq. 15). The bound is estimated by T times its
 * term at the drawn step, in bits a dimension; no gradient of it reaches eps. One number an example, `[N]`. Draws the
 * steps, then the noise.
 *
 * @throws InvalidArgumentError when the process is no process or the network does not answer twice the channels
 */
export function hybridLoss<C>(
  net: NetworkFunction<C>,
  { x0, cond }: CleanBatch<C>,
  rng: RandomStream,
  { process, uniforms = independent, vlbWeight = 0.001 }: HybridLossOptions,
): tf.Tensor1D {
  checkProcess('hybridLoss', process);
  if (Array.prototype.includes.call(process.alpha, 0)) {
    throw new InvalidArgumentError(
      'hybridLoss',
      'a step with alpha 0 tells nothing of x0 from eps; use a process without',
    );
  }
  return tf.tidy(() => {
    const levels = noiseLevels(uniformTimesteps(process), uniforms)(x0.shape[0], rng);
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
    const [eps, fraction] = tf.split(answer, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    const simple = tf.mean(tf.squaredDifference(eps, noise), [1, 2, 3]);
    const bound = tf.mean(vlbTerm(x0, noisy, stopGradient(eps), fraction, steps, process), [1, 2, 3]);
    return tf.add<tf.Tensor1D>(simple, tf.mul(bound, vlbWeight * process.alpha.length));
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
  fraction: tf.Tensor4D,
  steps: readonly number[],
  process: ForwardProcess,
): tf.Tensor4D {
  return tf.tidy(() => {
    const rows = steps.map((t) => posterior(process, t));
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
    const interpolation = tf.mul(tf.add(fraction, 1), 0.5);
    const logVariance = tf.add<tf.Tensor4D>(
      tf.mul(
        interpolation,
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

/** DDPM, eq. 6 and 7, where 1 - alphaBar is sigma^2. */
function posterior({ alpha, sigma }: ForwardProcess, t: number): Posterior {
  const stepAlpha = t === 0 ? alpha[0]! : alpha[t]! / alpha[t - 1]!;
  const beta = 1 - stepAlpha ** 2;
  const variance = sigma[t]! ** 2;
  const before = t === 0 ? { alpha: 1, variance: 0 } : { alpha: alpha[t - 1]!, variance: sigma[t - 1]! ** 2 };
  return {
    ofX0: (beta * before.alpha) / variance,
    ofNoisy: (before.variance * stepAlpha) / variance,
    logBeta: Math.log(beta),
    logBetaTilde: logBetaTilde({ alpha, sigma }, t),
    x0OfNoisy: 1 / alpha[t]!,
    x0OfEps: sigma[t]! / alpha[t]!,
  };
}

/** ln of beta tilde; it is 0 at t = 0, where that of t = 1 stands in (Improved DDPM's code). */
function logBetaTilde({ alpha, sigma }: ForwardProcess, t: number): number {
  if (alpha.length === 1) return Math.log(sigma[0]! ** 2);
  const i = Math.max(t, 1);
  return Math.log((1 - (alpha[i]! / alpha[i - 1]!) ** 2) * (sigma[i - 1]! / sigma[i]!) ** 2);
}

/** KL(N(mean1, e^logVar1) || N(mean2, e^logVar2)) elementwise, nats. */
function normalKl(mean1: tf.Tensor, logVar1: tf.Tensor, mean2: tf.Tensor, logVar2: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const ratio = tf.exp(tf.sub(logVar1, logVar2));
    const distance = tf.mul(tf.squaredDifference(mean1, mean2), tf.exp(tf.neg(logVar2)));
    return tf.mul<tf.Tensor4D>(tf.add(tf.sub(tf.add(tf.sub(logVar2, logVar1), ratio), 1), distance), 0.5);
  });
}

/**
 * -log P(x) elementwise, nats, of 8-bit images x in [-1, 1] under a Gaussian cut into bins of 2/255, the outer bins
 * open to infinity. DDPM (Ho et al. 2020), eq. 13; the normal's cumulative distribution by the tanh approximation and
 * the probabilities cut at 1e-12, as in the code of Improved DDPM.
 */
function discretizedGaussianNll(x: tf.Tensor4D, mean: tf.Tensor, logStd: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const centred = tf.sub(x, mean);
    const inverse = tf.exp(tf.neg(logStd));
    const upper = normalCdf(tf.mul(inverse, tf.add(centred, 1 / 255)));
    const lower = normalCdf(tf.mul(inverse, tf.sub(centred, 1 / 255)));
    const safeLog = (p: tf.Tensor) => tf.log(tf.maximum(p, 1e-12));
    const logP = tf.where(
      tf.less(x, -0.999),
      safeLog(upper),
      tf.where(tf.greater(x, 0.999), safeLog(tf.sub(1, lower)), safeLog(tf.sub(upper, lower))),
    );
    return tf.neg(logP) as tf.Tensor4D;
  });
}

/** Phi(x) by 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
function normalCdf(x: tf.Tensor): tf.Tensor {
  const cubic = tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715), 1));
  return tf.mul(tf.add(tf.tanh(tf.mul(cubic, Math.sqrt(2 / Math.PI))), 1), 0.5);
}
