import { createInterface } from 'node:readline';
import { MezzotintError } from '@mezzotint/core';
import type { Introduction } from './contestant.js';

/** Runs a job and gives the milliseconds that one run of it takes. */
export type TimedJob = () => Promise<number>;

const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Serves jobs to `Contestant`: one line with a job's name in, one with time and memory out. */
export async function serve(
  prepare: () => Promise<Omit<Introduction, 'jobs'> & { readonly jobs: Readonly<Record<string, TimedJob>> }>,
): Promise<void> {
  try {
    const { jobs, ...introduction } = await prepare();
    say({ ...introduction, jobs: Object.keys(jobs) });
    for await (const line of createInterface({ input: process.stdin })) {
      const job = jobs[line];
      if (job === undefined) throw new Error(`unknown job '${line}'`);
      say({ milliseconds: await job(), peakBytes: process.resourceUsage().maxRSS * 1024 });
    }
  } catch (error) {
    say({ unavailable: MezzotintError.isInstance(error) ? (error.facts.reason ?? error.message) : String(error) });
  }
}

/** A job that runs once. */
export function once(run: () => Promise<void>): TimedJob {
  return async () => {
    const start = performance.now();
    await run();
    return performance.now() - start;
  };
}

/** A short job, run again and again for some milliseconds, whose mean counts. */
export function repeated(run: () => Promise<void>, atLeast = 40): TimedJob {
  return async () => {
    const start = performance.now();
    for (let runs = 1; ; runs++) {
      await run();
      const elapsed = performance.now() - start;
      if (elapsed >= atLeast) return elapsed / runs;
    }
  };
}
