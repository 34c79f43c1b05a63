import { startProgress } from '@mezzotint/app';
import type { Contestant, Introduction } from './contestant.js';
import { medianRatio, type Timing, timing } from './statistics.js';

/** A contestant that has introduced itself. */
export interface Entrant {
  readonly contestant: Contestant;
  readonly introduction: Introduction;
}

/** One contestant's figures for one job. */
export interface Row {
  readonly contestant: string;
  readonly version: string;
  readonly job: string;
  readonly timing: Timing;
  /** Median of time / PyTorch's time (or the first contestant's), run by run. */
  readonly ratio: number;
  /** 10^9 floating-point operations a second, at the median. */
  readonly gflops: number;
  /** Of the most that any contestant's product of matrices reached in this run; null when none multiplied. */
  readonly shareOfPeak: number | null;
  /** Most resident memory of the contestant's process. */
  readonly peakMegabytes: number;
  /** See `Introduction`. */
  readonly narrowed?: Introduction['narrowed'];
}

export interface MeasureOptions {
  readonly runs: number;
  /** Floating-point operations of one run of a job. */
  readonly operations: (job: string) => number;
  readonly signal: AbortSignal;
}

/** Rounds of every contestant's every job, so that a drift of the machine's speed meets all alike. */
export async function measure(
  what: string,
  entrants: readonly Entrant[],
  { runs, operations, signal }: MeasureOptions,
): Promise<Row[]> {
  const entries = entrants.flatMap(({ contestant, introduction }) =>
    introduction.jobs.map((job) => ({ contestant, introduction, job, times: [] as number[], peak: 0 })),
  );
  const total = (runs + 1) * entries.length;
  const progress = startProgress(`Timing ${what}`, total);
  let done = 0;
  try {
    for (let round = 0; round <= runs; round++) {
      for (const entry of entries) {
        signal.throwIfAborted();
        const { milliseconds, peakBytes } = await entry.contestant.run(entry.job);
        if (round > 0) entry.times.push(milliseconds); // Round 0 warms up.
        entry.peak = peakBytes;
        progress.update(++done, total, `${entry.introduction.name} ${entry.job}`);
      }
    }
  } finally {
    progress.stop();
  }
  const best = entries
    .filter(({ job }) => job === 'matmul')
    .map(({ job, times }) => operations(job) / Math.min(...times));
  return entries.map(({ introduction, job, times, peak }) => {
    const base = entries.find((entry) => entry.job === job)!;
    const measured = timing(times);
    const perMillisecond = operations(job) / measured.median;
    return {
      contestant: introduction.name,
      version: introduction.version,
      job,
      timing: measured,
      ratio: medianRatio(times, base.times),
      gflops: perMillisecond / 1e6,
      shareOfPeak: best.length === 0 ? null : perMillisecond / Math.max(...best),
      peakMegabytes: Math.round(peak / 2 ** 20),
      ...(introduction.narrowed && { narrowed: introduction.narrowed }),
    };
  });
}
