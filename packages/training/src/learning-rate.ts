import { InvalidArgumentError } from '@mezzotint/core';

/** The learning rate of update number `step`, which counts from 1. A pure function, so that a resumed run needs no state. */
export type LearningRate = (step: number) => number;

/** The same rate at every step. */
export function constantRate(rate: number): LearningRate {
  check('constantRate', { rate });
  return () => rate;
}

/** min(step / steps, 1) times another schedule: a linear rise from rate / steps at the first update. */
export function warmUp(steps: number, then: LearningRate): LearningRate {
  check('warmUp', { steps });
  return (step) => then(step) * Math.min(steps === 0 ? 1 : step / steps, 1);
}

/**
 * Half a cosine from `peak` at step `from` (0 when absent) to `end` at `steps`, then `end`: end + (peak - end) (1 + cos(pi s))
 * / 2. SGDR, eq. 5. With a `fraction` below 1 the curve is left there: RIN's `cosine@0.7` ends at s = 0.7.
 */
export function cosineRate({
  peak,
  steps,
  end = 0,
  from = 0,
  fraction = 1,
}: {
  peak: number;
  steps: number;
  end?: number;
  from?: number;
  fraction?: number;
}): LearningRate {
  check('cosineRate', { peak, steps, end, from, fraction });
  const s = (step: number) => fraction * progress(Math.max(step - from, 0), steps - from);
  return (step) => end + ((peak - end) * (1 + Math.cos(Math.PI * s(step)))) / 2;
}

/** A straight line from `peak` at step 0 to `end` at `steps`, then `end`. */
export function linearRate({ peak, steps, end = 0 }: { peak: number; steps: number; end?: number }): LearningRate {
  check('linearRate', { peak, steps, end });
  return (step) => peak + (end - peak) * progress(step, steps);
}

/**
 * peak / sqrt(max(step / after, 1)): constant for `after` steps, then falling. EDM2 (Karras et al. 2024), eq. 67; there under a
 * `warmUp` of 10 million images.
 */
export function inverseSqrtRate({ peak, after }: { peak: number; after: number }): LearningRate {
  check('inverseSqrtRate', { peak, after });
  return (step) => peak / Math.sqrt(Math.max(step / after, 1));
}

function progress(step: number, steps: number): number {
  return steps <= 0 ? 1 : Math.min(step / steps, 1);
}

function check(who: string, values: Readonly<Record<string, number>>): void {
  const problems = Object.entries(values)
    .filter(([, value]) => !(Number.isFinite(value) && value >= 0))
    .map(([name, value]) => `${name} must be a number of at least 0, got ${value}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
