import type { Clipping } from '../clipping.js';
import type { Settings } from './settings.js';

/** What a file does to estimates of x0. Thresholding comes before clipping, as in diffusers. */
export function limitOf(settings: Settings): Clipping | null {
  const threshold = {
    kind: 'threshold',
    quantile: settings.read('dynamic_thresholding_ratio', 0.995),
    max: settings.read('sample_max_value', 1),
  } as const;
  const clip = { kind: 'clip', range: settings.read('clip_sample_range', 1) } as const;
  if (!(threshold.quantile >= 0 && threshold.quantile <= 1))
    settings.problems.push(`dynamic_thresholding_ratio: expected a number in [0, 1], got ${threshold.quantile}`);
  for (const [key, value] of [
    ['sample_max_value', threshold.max],
    ['clip_sample_range', clip.range],
  ] as const) {
    if (!(value > 0)) settings.problems.push(`${key}: expected a positive number, got ${value}`);
  }
  if (settings.read('thresholding', false)) return threshold;
  return settings.read('clip_sample', false) ? clip : null;
}
