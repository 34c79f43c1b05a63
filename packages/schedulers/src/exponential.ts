import type { NoiseLevel } from '@mezzotint/core';
import { productOfRoots } from './polynomial.js';
import { halfLogSnr } from './schedules/schedule.js';

/**
 * Exponential integrators in lambda = log(alpha / sigma), in two forms that share their numbers.
 *
 * Data form: x' = (sigma'/sigma) x + alpha' int_0^h e^-u D(lambda' - u) du.
 * Noise form: the same with alpha and sigma exchanged, D replaced by eps and lambda by -lambda (h < 0).
 *
 * DPM-Solver++ (Lu et al. 2022), eq. 8; DPM-Solver (Lu et al. 2022), eq. 3.4.
 */
export interface MultistepWeights {
  /** Weight of x. */
  readonly p: number;
  /** Weights of the predictions, newest first. */
  readonly w: readonly number[];
  /** Weight of fresh noise. */
  readonly noise: number;
}

/** The level as the noise form sees it. */
export function exchanged({ alpha, sigma }: NoiseLevel): NoiseLevel {
  return { alpha: sigma, sigma: alpha };
}

/**
 * Weights that integrate the Lagrange polynomial through the predictions exactly. With stochasticity tau,
 * x' = e^(-tau^2 h) (sigma'/sigma) x + sum w_k D_k + sigma' sqrt(1 - e^(-2 tau^2 h)) z and
 * w_k = c alpha' int_0^h e^(-c u) l_k(lambda' - u) du, c = 1 + tau^2.
 *
 * tau = 0 is Adams-Bashforth of the data form (DEIS in the noise form); tau > 0 is SA-Solver (Xue et al. 2023), eq. 13.
 *
 * @param nodes levels of the predictions, newest first; they may include `to` (Adams-Moulton)
 */
export function lagrangeWeights(
  from: NoiseLevel,
  to: NoiseLevel,
  nodes: readonly NoiseLevel[],
  tau = 0,
): MultistepWeights {
  const end = halfLogSnr(to);
  const h = end - halfLogSnr(from);
  const c = 1 + tau ** 2;
  // Distances u_k = lambda' - lambda_k: polynomials around `to` lose no digits when h is small.
  const at = nodes.map((node) => end - halfLogSnr(node));
  const moment = nodes.map((_, j) => c * to.alpha * exponentialMoment(j, c, h));
  const w = at.map((u, k) => {
    const others = at.filter((_, j) => j !== k);
    const scale = others.reduce((product, other) => product * (u - other), 1);
    return dot(productOfRoots(others), moment) / scale;
  });
  return {
    p: (Math.exp(-(tau ** 2) * h) * to.sigma) / from.sigma,
    w,
    noise: tau === 0 ? 0 : to.sigma * Math.sqrt(-Math.expm1(-2 * tau ** 2 * h)),
  };
}

/** int_0^h u^j e^(-c u) du, for h of either sign. */
export function exponentialMoment(j: number, c: number, h: number): number {
  const z = c * h;
  if (Math.abs(z) < 2) {
    // h^(j+1) sum (-z)^k / (k! (j + 1 + k))
    let term = 1;
    let sum = 0;
    for (let k = 0; k < 40; k++) {
      sum += term / (j + 1 + k);
      term *= -z / (k + 1);
    }
    return h ** (j + 1) * sum;
  }
  if (j === 0) return -Math.expm1(-z) / c;
  return (j * exponentialMoment(j - 1, c, h) - h ** j * Math.exp(-z)) / c;
}

/** phi_2(h) = (e^-h - 1 + h) / h, with all its digits. */
export function phi2(h: number): number {
  return (Math.exp(-h) * exponentialMoment(1, -1, h)) / h;
}

/** phi_3(h) = phi_2(h) / h - 1/2, with all its digits. */
export function phi3(h: number): number {
  return (-Math.exp(-h) * exponentialMoment(2, -1, h)) / (2 * h * h);
}

/**
 * How the terms past the first order are weighted: `midpoint` gives the second half the first-order weight; `heun` integrates
 * the line through both predictions; `exact` integrates the parabola in order 3 too, where the published formula (both other
 * types) takes half of its curvature and so stays of order 2.
 */
export type SecondOrder = 'midpoint' | 'heun' | 'exact';

/**
 * Weights of DPM-Solver's multistep methods: x' = p x + sum w_k m_k + noise z. With H = (1 + eta) h, q = -alpha' expm1(-H),
 * r_k the earlier steps over h and divided differences D1, D2:
 * order 2 midpoint q D1 / 2, heun alpha' phi_2(H) D1; order 3 alpha' (phi_2(H) D1 - phi_3(H) D2).
 *
 * DPM-Solver++ (Lu et al. 2022), algorithm 2 and appendix; eta > 0 is its SDE form as in k-diffusion.
 *
 * @param nodes levels of the predictions, newest (that of `from`) first; their number is the order
 */
export function dpmWeights(
  to: NoiseLevel,
  nodes: readonly NoiseLevel[],
  type: SecondOrder = 'midpoint',
  { eta = 0, curvature = 'exact' }: { readonly eta?: number; readonly curvature?: 'exact' | 'diffusers' } = {},
): MultistepWeights {
  const from = nodes[0]!;
  const ratio = to.sigma / from.sigma;
  const h = halfLogSnr(to) - halfLogSnr(from);
  if (!Number.isFinite(h)) {
    // To sigma = 0 or from alpha = 0: the ends where only the first order is defined.
    if (eta === 0 || to.sigma === 0) return { p: ratio, w: [to.alpha - from.alpha * ratio], noise: 0 };
    return { p: 0, w: [to.alpha], noise: to.sigma };
  }
  const p = ratio * Math.exp(-eta * h);
  const noise = eta === 0 ? 0 : to.sigma * Math.sqrt(-Math.expm1(-2 * eta * h));
  const big = (1 + eta) * h;
  const q = -to.alpha * Math.expm1(-big);
  const r = nodes.slice(1).map((node, k) => (halfLogSnr(nodes[k]!) - halfLogSnr(node)) / h);
  // After a row without signal the steps before are infinitely long and say nothing.
  const order = r.findIndex((x) => !Number.isFinite(x)) + 1 || nodes.length;
  if (order === 1) return { p, w: [q], noise };
  if (type === 'exact' && eta === 0) return lagrangeWeights(from, to, nodes.slice(0, order));
  const [r0, r1] = r as [number, number];
  if (order === 2) {
    const c = (type === 'midpoint' ? q / 2 : to.alpha * phi2(big)) / r0;
    return { p, w: [q + c, -c], noise };
  }
  // D1 = d0 + s (d0 - d1), D2 = (d0 - d1) / (r0 + r1), with d0 = (m0 - m1) / r0, d1 = (m1 - m2) / r1.
  // sde-dpmsolver++ of diffusers has alpha' (phi_3 + 1) in the place of alpha' phi_3.
  const [f2, f3] = [to.alpha * phi2(big), to.alpha * (phi3(big) + (curvature === 'exact' ? 0 : 1))];
  const s = r0 / (r0 + r1);
  const onD0 = (f2 * (1 + s) - f3 / (r0 + r1)) / r0;
  const onD1 = (-f2 * s + f3 / (r0 + r1)) / r1;
  return { p, w: [q + onD0, onD1 - onD0, -onD1], noise };
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * b[i]!, 0);
}
