import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneOf, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { ENGINE_NAMES } from '@mezzotint/backend';
import { Command } from 'commander';
import { Contestant, type Introduction } from './contestant.js';
import { type NetworkName, networks } from './networks.js';
import { medianRatio, type Timing, timing } from './statistics.js';

const here = dirname(fileURLToPath(import.meta.url));
const threads = '2';

interface Flags {
  readonly network: NetworkName;
  readonly runs: number;
  readonly engines?: string;
  readonly python: string;
}

/** One contestant's figures for one job. */
interface Row {
  readonly contestant: string;
  readonly version: string;
  readonly job: string;
  readonly timing: Timing;
  /** Median of time / PyTorch's time (or the first contestant's), run by run. */
  readonly ratio: number;
  readonly peakMegabytes: number;
}

const command = new Command('bench')
  .description(
    'Times a network on every engine that loads, and on PyTorch if there is one: medians of interleaved runs.',
  )
  .option(
    '--network <name>',
    Object.entries(networks)
      .map(([n, { about }]) => `${n} (${about})`)
      .join(', '),
    oneOf('--network', Object.keys(networks) as NetworkName[]),
    'unet',
  )
  .option('--runs <n>', 'counted runs of each job, after one warm-up', wholeNumber('--runs', 1), 7)
  .option('--engines <list>', `engines, separated by commas (default: ${ENGINE_NAMES.join(',')})`)
  .option('--python <program>', 'a Python with PyTorch to compare with', 'python3');

await runCommand<Flags>(command, async ({ network, runs, engines, python }, { say, result, signal }) => {
  const env = { OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, TF_CPP_MIN_LOG_LEVEL: '2' };
  const contestants: { contestant: Contestant; introduction: Introduction }[] = [];
  const absent: { contestant: string; reason: string }[] = [];
  const enter = async (name: string, program: string, args: readonly string[]) => {
    const started = await Contestant.start(program, args, env);
    if (typeof started === 'string') absent.push({ contestant: name, reason: started });
    else contestants.push(started);
  };
  const node = [...process.execArgv, join(here, 'engine-worker.ts')];
  await enter('pytorch', python, [join(here, '..', 'peers', 'pytorch.py'), network]);
  for (const engine of engines?.split(',') ?? ENGINE_NAMES)
    await enter(engine, process.execPath, [...node, engine, network]);

  try {
    const rows = await measure(contestants, runs, signal);
    say(
      `${networks[network].about}; ${cpus()[0]?.model ?? 'unknown CPU'}, ${threads} threads, ${runs} runs interleaved`,
    );
    for (const row of rows) say(rowText(row));
    for (const { contestant, reason } of absent) say(`${contestant.padEnd(12)} not here: ${reason}`);
    result({ network, about: networks[network].about, threads: Number(threads), runs, rows, absent });
  } finally {
    for (const { contestant } of contestants) contestant.stop();
  }
});

/** Rounds of every contestant's every job, so that a drift of the machine's speed meets all alike. */
async function measure(
  contestants: readonly { contestant: Contestant; introduction: Introduction }[],
  runs: number,
  signal: AbortSignal,
): Promise<Row[]> {
  const entries = contestants.flatMap(({ contestant, introduction }) =>
    introduction.jobs.map((job) => ({ contestant, introduction, job, times: [] as number[], peak: 0 })),
  );
  const progress = startProgress('Timing', (runs + 1) * entries.length);
  let done = 0;
  try {
    for (let round = 0; round <= runs; round++) {
      for (const entry of entries) {
        signal.throwIfAborted();
        const { milliseconds, peakBytes } = await entry.contestant.run(entry.job);
        if (round > 0) entry.times.push(milliseconds); // Round 0 warms up.
        entry.peak = peakBytes;
        progress.update(++done, (runs + 1) * entries.length, `${entry.introduction.name} ${entry.job}`);
      }
    }
  } finally {
    progress.stop();
  }
  return entries.map(({ introduction, job, times, peak }) => {
    const base = entries.find((entry) => entry.job === job)!;
    return {
      contestant: introduction.name,
      version: introduction.version,
      job,
      timing: timing(times),
      ratio: medianRatio(times, base.times),
      peakMegabytes: Math.round(peak / 2 ** 20),
    };
  });
}

function rowText({ contestant, version, job, timing: t, ratio, peakMegabytes }: Row): string {
  const figures = `${t.median.toFixed(0).padStart(7)} ms (${t.min.toFixed(0)}-${t.max.toFixed(0)})  x${ratio.toFixed(2)}`;
  return `${contestant.padEnd(12)} ${version.padEnd(12)} ${job.padEnd(8)} ${figures}  ${peakMegabytes} MB`;
}
