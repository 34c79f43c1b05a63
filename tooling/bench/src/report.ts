import type { Absent } from './contestants.js';
import type { Row } from './measure.js';
import { type Circumstances, page, percent, table } from './page.js';

/** The bench of one network. */
export interface NetworkResult {
  readonly network: string;
  readonly about: string;
  readonly parameters: number;
  /** Multiply-adds of one forward pass. */
  readonly macs: number;
  readonly rows: readonly Row[];
  readonly absent: readonly Absent[];
}

/** What a run of the bench found. */
export interface BenchResult extends Circumstances {
  readonly runs: number;
  readonly networks: readonly NetworkResult[];
}

/** One line of a row, for the terminal. */
export function rowText({
  contestant,
  version,
  job,
  timing: t,
  ratio,
  gflops,
  shareOfPeak,
  peakMegabytes,
}: Row): string {
  const time = `${t.median.toFixed(0).padStart(7)} ms (${t.min.toFixed(0)}-${t.max.toFixed(0)})  x${ratio.toFixed(2)}`;
  const speed = `${gflops.toFixed(0)} GFLOP/s${shareOfPeak === null ? '' : ` (${percent(shareOfPeak)} of peak)`}`;
  return `${contestant.padEnd(20)} ${version.padEnd(14)} ${job.padEnd(8)} ${time}  ${speed}  ${peakMegabytes} MB`;
}

/** The result as docs/performance.md. */
export function markdown({ runs, networks, ...where }: BenchResult): string {
  return page('Performance', where, [
    `Each engine and PyTorch run each job in a process of its own and take turns, ${runs} counted runs after one warm-up;`,
    'times are medians. `ratio` is the median of the ratios to the first line of the same job, turn by turn, so it holds when',
    "the machine's speed drifts: below 1 is faster. Operations are two for each multiply-add (`pnpm describe`), three times as",
    `many in a training step (gradients, clipping and AdamW included). The peak is the best product of ${matrices} in the same`,
    "run. Memory is the most that the job's process had resident, from its start, libraries and weights included.",
    ...networks.flatMap(section),
  ]);
}

const matrices = 'two 2048x2048 matrices';

function section({ network, about, parameters, macs, rows, absent }: NetworkResult): string[] {
  const size = `${(parameters / 1e6).toFixed(2)} M parameters, ${(macs / 1e9).toFixed(2)} G multiply-adds a forward pass.`;
  const notes = [
    ...rows.flatMap(narrowNote),
    ...absent.map(({ contestant, reason }) => `- ${contestant} is not here: ${reason}`),
  ];
  return [
    ...['', `## ${network}: ${about}`, '', size, ''],
    ...table(
      ['job', 'engine', '>median ms', '>range ms', '>ratio', '>GFLOP/s', '>of peak', '>memory MB'],
      byJob(rows).map(cells),
    ),
    ...(notes.length === 0 ? [] : ['', ...notes]),
  ];
}

/** What fewer bits save and cost. */
function narrowNote({ contestant, narrowed }: Row): string[] {
  if (narrowed === undefined) return [];
  const [before, after] = [narrowed.bytesBefore, narrowed.bytesAfter].map((bytes) => (bytes / 1e6).toFixed(1));
  return [
    `- ${contestant}: weights of ${after} MB instead of ${before}; relative error of the output ` +
      `${narrowed.error.toExponential(1)} (its process had them in float32 first, which its memory includes)`,
  ];
}

function cells({ contestant, version, job, timing, ratio, gflops, shareOfPeak, peakMegabytes }: Row): string[] {
  return [
    ...[job, `${contestant} ${version}`, timing.median.toFixed(0), `${timing.min.toFixed(0)}-${timing.max.toFixed(0)}`],
    ...[ratio.toFixed(2), gflops.toFixed(0), shareOfPeak === null ? '' : percent(shareOfPeak), String(peakMegabytes)],
  ];
}

function byJob(rows: readonly Row[]): Row[] {
  const jobs = [...new Set(rows.map((row) => row.job))];
  return jobs.flatMap((job) => rows.filter((row) => row.job === job));
}
