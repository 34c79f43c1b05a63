import type { NoiseLevel } from '@mezzotint/core';
import type { LogSnrLevel } from '../noise-levels/levels.js';

/**
 * Min-SNR weights (Hang et al. 2023, section 3.4): every loss counts as min(SNR, gamma) times the x0 error, with
 * SNR = alpha^2 / sigma^2. `eps`, `x0` and `v` are the weights of the losses of these names; the paper's gamma is 5.
 */
export function minSnr(gamma = 5): Readonly<Record<'eps' | 'x0' | 'v', (level: NoiseLevel) => number>> {
  // ||eps error||^2 = SNR ||x0 error||^2 and ||v error||^2 = (SNR + 1) ||x0 error||^2, written so that SNR may be infinite.
  const inverse = ({ alpha, sigma }: NoiseLevel) => (sigma / alpha) ** 2;
  return {
    eps: (level) => Math.min(1, gamma * inverse(level)),
    x0: (level) => Math.min(1 / inverse(level), gamma),
    v: (level) => {
      const i = inverse(level);
      return i === Number.POSITIVE_INFINITY ? 0 : Math.min(1, gamma * i) / (1 + i);
    },
  };
}

/** A weight of the eps error by log SNR, whatever the schedule. VDM++ (Kingma and Gao 2023), eq. 8. */
export type LogSnrWeighting = (logSnr: number) => number;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const sech = (x: number) => 1 / Math.cosh(x);

/** The weightings of VDM++ (Kingma and Gao 2023), table 1 and appendix D. */
export const logSnrWeightings = {
  /** The variational bound: 1. */
  elbo: (): LogSnrWeighting => () => 1,
  /** eps-prediction's mean square with the cosine schedule: sech(l / 2). */
  epsMeanSquare: (): LogSnrWeighting => (l) => sech(l / 2),
  /** v-prediction's mean square with the cosine schedule, and rectified flow with uniform times: e^(-l / 2). */
  vMeanSquare: (): LogSnrWeighting => (l) => Math.exp(-l / 2),
  /** EDM's: N(l; 2.4, 2.4^2) (e^-l + 0.5^2). */
  edm: (): LogSnrWeighting => edmWeighting,
  /** EDM's, held at its maximum below l = -3.3078 where it would fall: a monotonic weighting. */
  edmMonotonic: (): LogSnrWeighting => (l) => edmWeighting(Math.max(l, EDM_ARGMAX)),
  /** sigmoid(bias - l): 2 is best at 64 x 64 pixels. */
  sigmoid:
    (bias = 2): LogSnrWeighting =>
    (l) =>
      sigmoid(bias - l),
  /** min-SNR's with the cosine schedule: sech(l / 2) min(1, gamma e^-l). */
  minSnr:
    (gamma = 5): LogSnrWeighting =>
    (l) =>
      sech(l / 2) * Math.min(1, gamma * Math.exp(-l)),
} as const;

/** Where EDM's weighting is largest. */
const EDM_ARGMAX = -3.3077776231620097;

function edmWeighting(l: number): number {
  const density = Math.exp(-0.5 * ((l - 2.4) / 2.4) ** 2) / (2.4 * Math.sqrt(2 * Math.PI));
  return density * (Math.exp(-l) + 0.25);
}

/**
 * The weight of an eps error at a drawn level under a log-SNR weighting: w(l) / (2 p(l)) for levels of density p, as in
 * L_w = 1/2 E w(l) (-dl/dt) ||eps error||^2. VDM++, eq. 8. Use with `errorOf: 'eps'`.
 */
export function byLogSnr(weighting: LogSnrWeighting): (level: LogSnrLevel) => number {
  return ({ logSnr, density }) => weighting(logSnr) / (2 * density);
}
