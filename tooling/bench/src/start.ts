import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { MezzotintError } from '@mezzotint/core';
import { Command } from 'commander';
import { circumstances, page, table, writePage } from './page.js';
import { timing } from './statistics.js';

interface Flags {
  readonly runs: number;
  readonly write?: string;
}

/** A way to make the first image, from nothing running to a PNG on the disk. */
interface Way {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const model = join(root, 'models', 'digits');
const builtApp = join(root, 'apps', 'sample', 'dist', 'main.js');

const command = new Command('bench:start')
  .description(
    'Times whole processes that sample the first image of the digits model, from their start to the PNG on disk.',
  )
  .option('--runs <n>', 'counted runs of each, after one warm-up', wholeNumber('--runs', 1), 5)
  .option('--write <file>', 'write the tables as Markdown, for example docs/performance-start.md');

await runCommand<Flags>(command, async ({ runs, write }, { say, result, signal }) => {
  if (!existsSync(builtApp)) {
    throw new MezzotintError('MEZZOTINT_NOT_BUILT', 'bench:start times built packages: run `pnpm build` first');
  }
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-start-'));
  const picture = join(folder, 'digit.png');
  const ways = waysTo(picture);
  const seconds = ways.map((): number[] => []);
  const parts: Record<string, number[]> = {};
  const progress = startProgress('Starting processes', (runs + 1) * ways.length);
  try {
    for (let round = 0; round <= runs; round++) {
      for (const [index, way] of ways.entries()) {
        signal.throwIfAborted();
        rmSync(picture, { force: true });
        const { taken, output } = timed(way, picture);
        if (round > 0) {
          seconds[index]!.push(taken);
          if (index === 0) note(output, taken, parts);
        }
        progress.update(round * ways.length + index + 1);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  } finally {
    progress.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const found = ways.map(({ name }, index) => ({ name, ...timing(seconds[index]!) }));
  const medians = Object.entries(parts).map(([part, times]) => ({ part, milliseconds: timing(times).median }));
  for (const { name, median, min, max } of found) say(`${name.padEnd(44)} ${range(median, min, max)} s`);
  for (const { part, milliseconds } of medians) say(`  ${part.padEnd(20)} ${milliseconds.toFixed(0).padStart(6)} ms`);
  const where = circumstances(`pnpm bench:start --runs ${runs}${write === undefined ? '' : ` --write ${write}`}`);
  if (write !== undefined) {
    const body = [
      'Seconds of a whole process that samples one digit (20 steps of DPM-Solver++ 2M with guidance) and writes it as a PNG,',
      `from its start to its end; medians of ${runs} runs that take turns, after one. Nothing is kept between two processes`,
      'but files in the cache of the operating system (and what tsx transpiled, for `pnpm sample`).',
      '',
      ...table(
        ['what', '>median s', '>range s'],
        found.map(({ name, median, min, max }) => [name, median.toFixed(2), `${min.toFixed(2)}-${max.toFixed(2)}`]),
      ),
      '',
      'The parts of the first:',
      '',
      ...table(
        ['part', '>ms'],
        medians.map(({ part, milliseconds }) => [part, milliseconds.toFixed(0)]),
      ),
    ];
    writePage(write, page('Performance of a start', where, body), say);
  }
  result({ ...where, runs, ways: found, parts: medians });
});

/** The command of a script in package.json, so that what is timed is what users run. */
function scriptOf(name: string): string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  return scripts[name]!.split(' ').slice(1);
}

function waysTo(picture: string): Way[] {
  const script = join(root, 'tooling', 'bench', 'src', 'start-script.mjs');
  const node = process.execPath;
  const one = ['--labels', '3', '--count', '1', '--out', picture];
  return [
    { name: 'a script on built packages', program: node, args: [script, model, picture] },
    { name: 'the sample app, built', program: node, args: [builtApp, '--model', model, ...one] },
    { name: 'npm start, when all is set up', program: 'npm', args: ['start', '--silent', '--', ...one] },
    {
      name: "pnpm sample, from sources (without pnpm's own start)",
      program: node,
      args: [...scriptOf('sample'), '--model', model, ...one],
    },
  ];
}

function timed({ name, program, args }: Way, picture: string): { taken: number; output: string } {
  const start = performance.now();
  const done = spawnSync(program, args, { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' });
  const taken = (performance.now() - start) / 1000;
  if (done.status !== 0 || !existsSync(picture)) {
    throw new Error(`${name} failed: ${done.error?.message ?? done.stderr.trim().split('\n').at(-1)}`);
  }
  return { taken, output: done.stdout };
}

/** Adds what each part of the script took, the end of the process included. */
function note(output: string, seconds: number, parts: Record<string, number[]>): void {
  const { done } = JSON.parse(output.trim().split('\n').at(-1)!) as { done: Record<string, number> };
  let before = 0;
  const add = (part: string, end: number) => {
    parts[part] = [...(parts[part] ?? []), end - before];
    before = end;
  };
  for (const [part, end] of Object.entries(done)) add(part, end);
  add('start and end of the process', 1000 * seconds);
}

function range(median: number, min: number, max: number): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}
