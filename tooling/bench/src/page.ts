import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { dirname } from 'node:path';

/** Where and when something was measured. */
export interface Circumstances {
  readonly date: string;
  /** Processor, cores and memory, operating system, Node. */
  readonly machine: string;
  readonly threads: number;
  /** Repeats the run. */
  readonly command: string;
}

/** Threads that every contestant has. */
export const threads = 2;

/** What keeps a process to that many threads, whatever library computes in it. */
export const threadLimits = {
  OMP_NUM_THREADS: String(threads),
  TF_NUM_INTRAOP_THREADS: String(threads),
  TF_CPP_MIN_LOG_LEVEL: '2',
} as const;

/** Here and now. */
export function circumstances(command: string): Circumstances {
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: machineText(),
    threads,
    command: withTunables(command),
  };
}

/** A command with the C library's settings that this process was started with, on which speed depends. */
function withTunables(command: string): string {
  const { GLIBC_TUNABLES: tunables } = process.env;
  return tunables === undefined ? command : `GLIBC_TUNABLES=${tunables} ${command}`;
}

/** Processor, cores and memory, operating system, Node. */
function machineText(): string {
  const [processor] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GB`;
  const [load = 0] = loadavg();
  // The bench itself keeps as many processes busy as there are cores.
  const others = load > cpus().length + 1 ? `; load average ${load.toFixed(0)}: other work on the machine` : '';
  return `${processor?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores, ${memory}, ${type()} ${release()}, Node ${process.version}${others}`;
}

/** A page of measurements: where they were made and how, then the body. */
export function page(
  title: string,
  { date, machine, threads, command }: Circumstances,
  body: readonly string[],
): string {
  return [
    ...[`# ${title}`, '', '<!-- Written by the command below; do not edit. -->', ''],
    ...[`Measured on ${date}: ${machine}; ${threads} threads. Repeat it with`, '', '```', command, '```', ''],
    ...body,
    '',
  ].join('\n');
}

/** A Markdown table; columns whose head begins with `>` are numbers. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(heads.map((head) => head.replace('>', ''))),
    line(heads.map((head) => (head.startsWith('>') ? '---:' : '---'))),
    ...rows.map(line),
  ];
}

/** Writes a page and says so. */
export function writePage(file: string, text: string, say: (line: string) => void): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  say(`Table: ${file}`);
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
