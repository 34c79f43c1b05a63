import { InvalidArgumentError } from '@mezzotint/core';

/** Least gamma, and how far it stays below 1 in a log SNR: sqrt(1 - gamma) and the log SNR stay finite. */
export const GAMMA_MIN = 1e-9;

/**
 * A piece of cos(pi t / 2)^(2 tau) from `start` to `end`, stretched to [0, 1]: Chen 2023, "On the importance of noise
 * scheduling for diffusion models", section 2.
 *
 * @returns gamma = alpha^2 at u in [0, 1], falling from 1
 * @throws InvalidArgumentError where start and end are one level
 */
export function cosineGamma({ start = 0, end = 1, tau = 1 } = {}): (u: number) => number {
  return stretched((t) => Math.cos((Math.PI / 2) * t) ** (2 * tau), start, end);
}

/** A piece of sigmoid(-t / tau) from `start` to `end`, stretched to [0, 1]; Chen 2023, section 2. RIN: -3, 3, 0.9. Otherwise as `cosineGamma`. */
export function sigmoidGamma({ start = -3, end = 3, tau = 0.9 } = {}): (u: number) => number {
  return stretched((t) => 1 / (1 + Math.exp(t / tau)), start, end);
}

function stretched(f: (t: number) => number, start: number, end: number): (u: number) => number {
  const [first, last] = [f(start), f(end)];
  if (first === last) {
    throw new InvalidArgumentError('curve', `start and end must be two levels, got ${start} and ${end}`);
  }
  return (u) => Math.min(1, Math.max(GAMMA_MIN, (f(start + u * (end - start)) - last) / (first - last)));
}
