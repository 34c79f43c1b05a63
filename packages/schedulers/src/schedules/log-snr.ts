import { InvalidArgumentError } from '@mezzotint/core';
import { customSchedule, levelOf, type NoiseSchedule } from './schedule.js';
import type { TimeOf } from './time-of.js';

/** log(alpha^2 / sigma^2) as a function of u in [0, 1], falling: 0 is the clean end. */
export type LogSnr = (u: number) => number;

/** Ends of a log-SNR curve. */
export interface LogSnrRange {
  readonly min?: number;
  readonly max?: number;
}

/**
 * The cosine schedule cut to a range: -2 log tan(a u + b), b = arctan(e^(-max/2)), a = arctan(e^(-min/2)) - b.
 * Classifier-free guidance (Ho & Salimans 2022), section 4, with range -20 to 20.
 */
export function cosineLogSnr({ min = -20, max = 20 }: LogSnrRange = {}): LogSnr {
  const b = Math.atan(Math.exp(-max / 2));
  const a = Math.atan(Math.exp(-min / 2)) - b;
  return (u) => -2 * Math.log(Math.tan(a * u + b));
}

/**
 * The cosine schedule for pictures of `size` as noisy as one for `reference`: + 2 log(reference / size). Simple
 * diffusion (Hoogeboom et al. 2023), section 2.2, with range -15 to 15.
 */
export function shiftedCosineLogSnr({
  size,
  reference = 64,
  min = -15,
  max = 15,
}: LogSnrRange & { readonly size: number; readonly reference?: number }): LogSnr {
  const cosine = cosineLogSnr({ min, max });
  return (u) => cosine(u) + 2 * Math.log(reference / size);
}

/**
 * Between two shifts: u log snr_high(u) + (1 - u) log snr_low(u), so that the clean end is shifted to `low` pixels and the noisy
 * end to `high`. Simple diffusion, eq. 6, for text to image at 512 pixels with low 32 and high 256.
 *
 * @param options size, pixels of the pictures; low, 32; high, `size`; reversed: the two exchanged, as
 *   lucidrains' denoising-diffusion-pytorch has them
 * @throws InvalidArgumentError where the noisy end is so much cleaner than the clean one that the curve would rise in its middle
 */
export function interpolatedCosineLogSnr({
  size,
  low = 32,
  high = size,
  reversed = false,
  ...range
}: LogSnrRange & {
  readonly size: number;
  readonly low?: number;
  readonly high?: number;
  readonly reversed?: boolean;
}): LogSnr {
  const clean = shiftedCosineLogSnr({ size, reference: reversed ? high : low, ...range });
  const noisy = shiftedCosineLogSnr({ size, reference: reversed ? low : high, ...range });
  // The cosine falls slowest in its middle, by 4 a; the shift rises by 2 ln(high / low) from end to end.
  const { min = -15, max = 15 } = range;
  const most = Math.exp(2 * (Math.atan(Math.exp(-min / 2)) - Math.atan(Math.exp(-max / 2))));
  const ratio = reversed ? low / high : high / low;
  if (!(ratio < most)) {
    throw new InvalidArgumentError(
      'interpolatedCosineLogSnr',
      `high must be less than ${most.toFixed(1)} times low, or the log SNR would not fall; got low ${low} and high ${high}`,
    );
  }
  return (u) => u * noisy(u) + (1 - u) * clean(u);
}

/**
 * Variance-preserving rows of a log-SNR curve at even steps of u from 1 to 0, for n steps.
 *
 * @param steps n
 * @param options final: `clean` replaces u = 0 by sigma = 0, `curve` ends at u = 0, `added` has n rows from u = 1 to 0 and
 *   sigma = 0 after them; clock: the network's times (`logSnrTime` where it is told log SNR itself)
 */
export function logSnrSchedule(
  curve: LogSnr,
  steps: number,
  { final = 'clean', clock }: { readonly final?: 'clean' | 'curve' | 'added'; readonly clock?: TimeOf } = {},
): NoiseSchedule<'vp'> {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new InvalidArgumentError('logSnrSchedule', `steps must be an integer of at least 1, got ${steps}`);
  }
  const last = final === 'added' ? Math.max(steps - 1, 1) : steps;
  const rows = Array.from({ length: steps + 1 }, (_, i) =>
    levelOf('vp', i === steps && final !== 'curve' ? 0 : Math.exp(-curve((last - i) / last) / 2)),
  );
  const alpha = Float64Array.from(rows, (row) => row.alpha);
  const sigma = Float64Array.from(rows, (row) => row.sigma);
  return customSchedule('vp', clock ? { alpha, sigma, time: Float64Array.from(rows, clock) } : { alpha, sigma });
}

/** The clock of networks conditioned on log SNR: 2 log(alpha / sigma). */
export const logSnrTime: TimeOf = ({ alpha, sigma }) => 2 * Math.log(alpha / sigma);
