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

/**
 * The whole cosine cos^2(pi/2 (u + 0.0002) / 1.00025): the schedule `cosine` of pix2seq, along which its RINs sample. The offsets keep
 * both ends off 0 and 1, so nothing is cut: gamma falls from 1 - 9.9e-8 to 6.2e-9.
 */
export function offsetCosineGamma(u: number): number {
  return Math.cos((Math.PI / 2) * ((u + 0.0002) / 1.00025)) ** 2;
}

/**
 * A piece of -log(t) from `start` to `end`, stretched to [0, 1]: the schedule `log@start,end,reversed` of pix2seq, which cuts it at 0.
 *
 * @param options reversed: from `end` to `start`, so that gamma falls late instead of early
 * @returns gamma = alpha^2 at u in [0, 1], falling from 1 to 0
 * @throws InvalidArgumentError unless start and end are two numbers above 0
 */
export function logGamma({ start = 1, end = 100, reversed = false } = {}): (u: number) => number {
  if (!(start > 0 && end > 0)) {
    throw new InvalidArgumentError('logGamma', `start and end must be above 0, got ${start} and ${end}`);
  }
  const [first, last] = reversed ? [end, start] : [start, end];
  return stretched((t) => -Math.log(t), first, last, 0);
}

function stretched(f: (t: number) => number, start: number, end: number, least = GAMMA_MIN): (u: number) => number {
  const [first, last] = [f(start), f(end)];
  if (first === last) {
    throw new InvalidArgumentError('curve', `start and end must be two levels, got ${start} and ${end}`);
  }
  return (u) => Math.min(1, Math.max(least, (f(start + u * (end - start)) - last) / (first - last)));
}
