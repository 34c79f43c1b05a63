import { type Circumstances, table } from '../page.js';
import type { CheckpointRow, Measured } from './measure.js';

/** The bench of one checkpoint. */
export interface CheckpointResult extends Measured, Circumstances {
  readonly network: string;
  readonly about: string;
  readonly step: string;
  readonly fileType: string;
  readonly fileBytes: number;
  readonly cold: boolean;
  readonly parameters: number;
  /** Multiply-adds of a step. */
  readonly macs: number;
  readonly runs: number;
}

/** One line of a row, for the terminal. */
export function rowText(row: CheckpointRow, macs: number): string {
  const [name, load, first, median, range, ratio, speed, loaded, peak, error] = cells(row, macs);
  const step = median === '' ? '' : ` step ${median} s (${range})`;
  return `${name!.padEnd(28)} load ${load} s, first ${first} s,${step} x${ratio} ${speed} GFLOP/s, ${loaded} -> ${peak} MB${error === '' ? '' : `, error ${error}`}`;
}

const TITLE = `# Checkpoints of full size

<!-- Written by \`pnpm bench:checkpoint --write\` and \`pnpm bench:full-size --write\`, which replace the sections that they measured; do not edit. -->

Random weights in files as hubs have them. Each contestant is a process of its own with 2 threads: it loads the file, makes
a first step (in which programs are compiled and weights are brought into their final form) and counted ones, taking turns with
the others unless memory holds only one of them. Times are medians; \`ratio\` is the median of the ratios to the first line, turn
by turn: below 1 is faster. Memory is the most that the process had resident after loading, and up to the end; PyTorch's holds the
file's own pages, which it maps. \`error\` is the root mean square of the difference to the first line's answer, relative.
The last sections are whole pictures: text encoders, transformer and autoencoder of one process, each freed as soon as its work is done.
`;

/** The document with the sections of these results in the place of their own older ones. */
export function updated(document: string | undefined, results: readonly CheckpointResult[]): string {
  return withSections(document, results.map(section));
}

/** The document with sections in the place of those of the same heads. */
export function withSections(document: string | undefined, texts: readonly string[]): string {
  const sections = new Map<string, string>();
  const old = document?.split(/^(?=## )/m).slice(1) ?? [];
  for (const text of [...old, ...texts]) sections.set(text.slice(0, text.indexOf('\n')), text);
  return [TITLE, ...[...sections.values()].map((text) => `${text.trimEnd()}\n`)].join('\n');
}

function section(result: CheckpointResult): string {
  const { network, about, fileType, fileBytes, cold, parameters, macs, step, date, machine, command, runs } = result;
  // Two kinds of tables of one file: beside the peer, and of the engine's formats among themselves.
  const kind = [...result.rows, ...result.absent].some(({ contestant }) => contestant.startsWith('pytorch'))
    ? ''
    : ', weights in other formats';
  return [
    `## ${network}, a ${fileType} file${kind}`,
    '',
    `${about}: ${(parameters / 1e6).toFixed(1)} M parameters in ${(fileBytes / 1e9).toFixed(2)} GB, the file ${cold ? 'not in the page cache' : 'in the page cache'}. A step is ${step}: ${(macs / 1e9).toFixed(0)} G multiply-adds.`,
    `Measured on ${date}: ${machine}; ${runs} counted steps${result.interleaved ? '' : ', one contestant after another'}. Repeat it with`,
    '',
    '```',
    command,
    '```',
    '',
    ...table(
      [
        ...['contestant', '>load s', '>first step s', '>step s', '>range s'],
        ...['>ratio', '>GFLOP/s', '>MB loaded', '>MB at most', '>error'],
      ],
      result.rows.map((row) => cells(row, macs)),
    ),
    ...(result.absent.length === 0 ? [] : ['']),
    ...result.absent.map(({ contestant, reason }) => `- ${contestant} is not here: ${reason}`),
    '',
  ].join('\n');
}

function cells(row: CheckpointRow, macs: number): string[] {
  const { contestant, version, loadSeconds, firstSeconds, steps, ratio, loadedMegabytes, peakMegabytes, error } = row;
  const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2);
  const median = steps === null ? 1000 * firstSeconds : steps.median;
  return [
    `${contestant}, ${version}`,
    loadSeconds.toFixed(1),
    firstSeconds.toFixed(1),
    steps === null ? '' : seconds(steps.median),
    steps === null ? '' : `${seconds(steps.min)}-${seconds(steps.max)}`,
    ratio.toFixed(2),
    ((2 * macs) / median / 1e6).toFixed(0),
    String(loadedMegabytes),
    String(peakMegabytes),
    error === null ? '' : error.toExponential(1),
  ];
}
