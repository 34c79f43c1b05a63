import type { Row } from './measure.js';

/** The bench of one network. */
export interface NetworkResult {
  readonly network: string;
  readonly about: string;
  readonly parameters: number;
  /** Multiply-adds of one forward pass. */
  readonly macs: number;
  readonly rows: readonly Row[];
  readonly absent: readonly { readonly contestant: string; readonly reason: string }[];
}

/** What a run of the bench found. */
export interface BenchResult {
  readonly date: string;
  /** Processor, cores and memory, operating system, Node. */
  readonly machine: string;
  readonly threads: number;
  readonly runs: number;
  /** Repeats the run. */
  readonly command: string;
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
export function markdown({ date, machine, threads, runs, command, networks }: BenchResult): string {
  return [
    '# Performance',
    '',
    '<!-- Written by the command below; do not edit. -->',
    '',
    `Measured on ${date}: ${machine}; ${threads} threads. Repeat it with`,
    '',
    '```',
    command,
    '```',
    '',
    `Each engine and PyTorch run in a process of their own and take turns, ${runs} counted runs of each job after one warm-up;`,
    'times are medians. `ratio` is the median of the ratios to the first line of the same job, turn by turn, so it holds when',
    "the machine's speed drifts: below 1 is faster. Operations are two for each multiply-add (`pnpm describe`), three times as",
    `many in a training step (gradients, clipping and AdamW included). The peak is the best product of ${matrices} in the same`,
    'run. Memory is the most that the process had resident up to the end of the job; jobs run in the order of the table.',
    ...networks.flatMap(section),
    '',
  ].join('\n');
}

const matrices = 'two 2048x2048 matrices';

function section({ network, about, parameters, macs, rows, absent }: NetworkResult): string[] {
  const size = `${(parameters / 1e6).toFixed(2)} M parameters, ${(macs / 1e9).toFixed(2)} G multiply-adds a forward pass.`;
  return [
    ...['', `## ${network}: ${about}`, '', size, ''],
    '| job | engine | median ms | range ms | ratio | GFLOP/s | of peak | memory MB |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...byJob(rows).map((row) => `| ${cells(row).join(' | ')} |`),
    ...(absent.length === 0 ? [] : ['']),
    ...absent.map(({ contestant, reason }) => `- ${contestant} is not here: ${reason}`),
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

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
