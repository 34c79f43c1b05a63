import { InvalidArgumentError, type NoiseLevel, type TimeInput } from '@mezzotint/core';
import { cosineLogSnr, logSnrTime } from './schedules/log-snr.js';
import { levelOf } from './schedules/schedule.js';

/** Noise levels of conditioning augmentation: 0 is the clean picture, this is noise alone. */
export const MOST_AUGMENTATION = 1000;

const curve = cosineLogSnr();

/**
 * The noise that a super-resolution network's low-resolution picture is given, and what the network is told of it: level n of the
 * cosine schedule with alpha = cos(pi n / 2000). Ho et al. 2021 (arXiv 2106.15282), section 4; Saharia et al. 2022 (arXiv
 * 2205.11487), section 2.5 (`aug_level` there is n / 1000).
 *
 * @param n 0 to 1000; need not be whole
 * @param time what the network's time is (`DenoiserArchitecture.time`)
 * @throws InvalidArgumentError when n is out of range
 */
export function augmentationLevel(n: number, time: TimeInput): NoiseLevel & { readonly time: number } {
  if (!(n >= 0 && n <= MOST_AUGMENTATION)) {
    throw new InvalidArgumentError('augmentationLevel', `expected a level from 0 to ${MOST_AUGMENTATION}, got ${n}`);
  }
  const ratio = Math.exp(-curve(n / MOST_AUGMENTATION) / 2);
  const level = levelOf('vp', ratio);
  const { alpha } = level;
  const told = {
    timestep: n,
    unit: n / MOST_AUGMENTATION,
    sigma: ratio,
    gamma: alpha ** 2,
    'log-snr': logSnrTime(level),
  };
  // The cut of the curve at log SNR 20 leaves a clean picture with noise that no byte shows; level 0 has none.
  return { ...(n === 0 ? { alpha: 1, sigma: 0 } : level), time: told[time] };
}
