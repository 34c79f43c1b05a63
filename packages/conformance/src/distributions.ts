import { InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import type { HostDenoiser } from '@mezzotint/schedulers';
import { logNormalCdf } from './normal.js';

/**
 * Data of which everything is known at every noise level x = alpha x0 + sigma eps, each number of a vector for itself.
 */
export interface Distribution {
  readonly name: string;
  /** Mean and variance of x0. */
  readonly mean: number;
  readonly variance: number;
  /** The exact denoiser E[x0 | x]. */
  readonly denoise: HostDenoiser;
  /** log p(x) at a level. */
  logDensity(x: number, at: NoiseLevel): number;
  /** Where the probability-flow ODE takes x on its way from one level to another, exactly. */
  solve(x: Float64Array, from: NoiseLevel, to: NoiseLevel): Float64Array;
}

/** One normal of a mixture. */
export interface Component {
  readonly weight: number;
  readonly mean: number;
  /** Standard deviation, positive. */
  readonly deviation: number;
}

/**
 * Normal data: D = m + alpha s^2 (x - alpha m) / (sigma^2 + alpha^2 s^2), and along the ODE (x - alpha m) /
 * sqrt(sigma^2 + alpha^2 s^2) stays what it is.
 *
 * @param options mean, 0; deviation, 0.5
 */
export function gaussian({ mean = 0, deviation = 0.5 }: { readonly mean?: number; readonly deviation?: number } = {}) {
  checkDeviation('gaussian', deviation);
  const spread = ({ alpha, sigma }: NoiseLevel) => Math.hypot(sigma, alpha * deviation);
  const distribution: Distribution = {
    name: `N(${mean}, ${deviation}^2)`,
    mean,
    variance: deviation ** 2,
    denoise(x, at) {
      const share = (at.alpha * deviation ** 2) / spread(at) ** 2;
      return x.map((v) => mean + share * (v - at.alpha * mean));
    },
    logDensity: (x, at) => logNormal(x, at.alpha * mean, spread(at)),
    solve(x, from, to) {
      const ratio = spread(to) / spread(from);
      return x.map((v) => to.alpha * mean + ratio * (v - from.alpha * mean));
    },
  };
  return distribution;
}

/**
 * A mixture of normals. D = sum_k r_k D_k with the responsibilities r_k of x; in one dimension the ODE keeps each point's
 * quantile, so its solution is the x' with F'(x') = F(x), found to the last bits by bisection and Newton's method.
 *
 * @throws InvalidArgumentError without components, or when a weight or deviation is not positive
 */
export function mixture(components: readonly Component[]): Distribution {
  if (components.length === 0) throw new InvalidArgumentError('mixture', 'expected at least one component');
  for (const { weight, deviation } of components) {
    checkDeviation('mixture', deviation);
    checkDeviation('mixture', weight, 'weight');
  }
  const total = components.reduce((sum, { weight }) => sum + weight, 0);
  const parts = components.map((part) => ({ ...part, weight: part.weight / total }));
  const mean = parts.reduce((sum, part) => sum + part.weight * part.mean, 0);
  const levelled = (at: NoiseLevel) =>
    parts.map((part) => ({
      ...part,
      centre: at.alpha * part.mean,
      spread: Math.hypot(at.sigma, at.alpha * part.deviation),
    }));
  const logDensity = (x: number, at: NoiseLevel) =>
    logSum(levelled(at).map(({ weight, centre, spread }) => Math.log(weight) + logNormal(x, centre, spread)));
  /** log of the mass below (side 1) or above (side -1). */
  const logTail = (x: number, at: NoiseLevel, side: 1 | -1) =>
    logSum(
      levelled(at).map(({ weight, centre, spread }) => Math.log(weight) + logNormalCdf((side * (x - centre)) / spread)),
    );

  return {
    name: `mixture of ${parts.map((part) => `${part.weight} N(${part.mean}, ${part.deviation}^2)`).join(', ')}`,
    mean,
    variance: parts.reduce((sum, part) => sum + part.weight * (part.deviation ** 2 + (part.mean - mean) ** 2), 0),
    logDensity,
    denoise(x, at) {
      const all = levelled(at);
      return x.map((v) => {
        const logs = all.map(({ weight, centre, spread }) => Math.log(weight) + logNormal(v, centre, spread));
        const whole = logSum(logs);
        return all.reduce((sum, part, k) => {
          const own = part.mean + (at.alpha * part.deviation ** 2 * (v - part.centre)) / part.spread ** 2;
          return sum + Math.exp(logs[k]! - whole) * own;
        }, 0);
      });
    },
    solve(x, from, to) {
      const all = levelled(to);
      const widest = 40 * Math.max(...all.map(({ spread }) => spread));
      const lowest = Math.min(...all.map(({ centre }) => centre)) - widest;
      const highest = Math.max(...all.map(({ centre }) => centre)) + widest;
      return x.map((v) => {
        // The smaller tail has the precision.
        const side = logTail(v, from, 1) < -Math.LN2 ? 1 : -1;
        const goal = logTail(v, from, side);
        let [low, high] = [lowest, highest];
        let y = (low + high) / 2;
        for (let i = 0; i < 200; i++) {
          const tail = logTail(y, to, side);
          const excess = side * (tail - goal); // rises with y
          if (excess > 0) high = y;
          else low = y;
          const slope = Math.exp(logDensity(y, to) - tail);
          const newton = y - excess / slope;
          const next = newton > low && newton < high ? newton : (low + high) / 2;
          if (Math.abs(next - y) <= 1e-16 * (1 + Math.abs(y))) return next;
          y = next;
        }
        return y;
      });
    },
  };
}

/** The mixture that the checks use: three unequal peaks, so that the denoiser bends. */
export const threePeaks: Distribution = mixture([
  { weight: 0.3, mean: -1, deviation: 0.3 },
  { weight: 0.5, mean: 0.2, deviation: 0.4 },
  { weight: 0.2, mean: 1.3, deviation: 0.25 },
]);

function checkDeviation(who: string, value: number, what = 'deviation'): void {
  if (!(value > 0 && Number.isFinite(value))) {
    throw new InvalidArgumentError(who, `every ${what} must be positive, got ${value}`);
  }
}

function logNormal(x: number, mean: number, deviation: number): number {
  return -0.5 * ((x - mean) / deviation) ** 2 - Math.log(deviation) - 0.5 * Math.log(2 * Math.PI);
}

function logSum(logs: readonly number[]): number {
  const largest = Math.max(...logs);
  return largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0));
}
