import type { HostDenoiser } from '../src/index.js';
import golden from './fixtures/k-diffusion.json' with { type: 'json' };

/** Data N(0, s^2): the exact denoiser is D = alpha s^2 x / (sigma^2 + alpha^2 s^2). */
export const gaussian: HostDenoiser = (x, { alpha, sigma }) => {
  const s2 = golden.gaussian_sigma_data ** 2;
  const share = (alpha * s2) / (sigma ** 2 + alpha ** 2 * s2);
  return x.map((v) => v * share);
};

/** The exact end of the probability-flow ODE between two levels with alpha = 1. */
export function exact(x: number, from: number, to: number): number {
  const s2 = golden.gaussian_sigma_data ** 2;
  return x * Math.sqrt((to ** 2 + s2) / (from ** 2 + s2));
}
