import { InvalidArgumentError } from '@mezzotint/core';

/** Ten steps optimised for one model: sigma / alpha, then 0, and the training times where there are any. */
export interface AlignedSteps {
  readonly sigmas: readonly number[];
  readonly times?: readonly number[];
}

/** The published schedules of "Align Your Steps" (Sabour et al. 2024), 10 steps each. */
export const alignYourSteps = {
  'stable-diffusion-1.5': {
    sigmas: [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0],
    times: [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
  },
  'stable-diffusion-xl': {
    sigmas: [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.38, 0.234, 0.113, 0],
    times: [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
  },
  'stable-video-diffusion': {
    sigmas: [700, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0],
  },
} as const satisfies Readonly<Record<string, AlignedSteps>>;

/**
 * A schedule with another number of steps: log-linear between its values, as the paper proposes; then 0.
 *
 * @param sigmas falling and positive, a last 0 is kept
 * @param steps number of steps of the answer
 */
export function interpolateSigmas(sigmas: ArrayLike<number>, steps: number): Float64Array {
  const knots = Array.from(sigmas).filter((s) => s > 0);
  if (knots.length < 2 || !Number.isInteger(steps) || steps < 1) {
    throw new InvalidArgumentError(
      'interpolateSigmas',
      `expected 2 or more sigmas and 1 or more steps, got ${knots.length} and ${steps}`,
    );
  }
  return Float64Array.from({ length: steps + 1 }, (_, i) => {
    if (i === steps) return 0;
    const at = steps === 1 ? 0 : (i / (steps - 1)) * (knots.length - 1);
    const low = Math.min(Math.floor(at), knots.length - 2);
    const [a, b] = [Math.log(knots[low]!), Math.log(knots[low + 1]!)];
    return Math.exp(a + (at - low) * (b - a));
  });
}
