import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, wholeNumber } from '@mezzotint/app';
import { NumpyRandomState, TorchGenerator } from '@mezzotint/core';
import { Command } from 'commander';
import { circumstances, page, table, writePage } from './page.js';
import { timing } from './statistics.js';

interface Flags {
  readonly millions: number;
  readonly runs: number;
  readonly python: string;
  readonly write?: string;
}

/** Seconds of each draw by one maker of random numbers. */
interface Maker {
  readonly name: string;
  /** The same numbers as the maker of this name gives. */
  readonly sameAs?: string;
  readonly seconds: Readonly<Record<string, readonly number[]>>;
}

const draws = ['normals', 'uniforms'] as const;
/** Normals of a training step: images of a batch, as the networks that are trained here take them. */
const batches = { 'digits, 64x28x28x1': 64 * 28 * 28, 'UNet, 8x32x32x3': 8 * 32 * 32 * 3 } as const;
const peer = join(dirname(fileURLToPath(import.meta.url)), '..', 'peers', 'random_numbers.py');

const command = new Command('bench:random')
  .description(
    "Times the host's random numbers: PyTorch's and NumPy's streams by core, and by themselves if there is a Python.",
  )
  .option('--millions <n>', 'how many million numbers a draw', wholeNumber('--millions', 1), 100)
  .option('--runs <n>', 'counted draws, after one warm-up', wholeNumber('--runs', 1), 3)
  .option('--python <program>', 'a Python with PyTorch to compare with', 'python3')
  .option('--write <file>', 'write the table as Markdown, for example docs/performance-random.md');

await runCommand<Flags>(command, async ({ millions, runs, python, write }, { say, result, signal }) => {
  const count = millions * 1e6;
  const torch = new TorchGenerator(0);
  const numpy = new NumpyRandomState(0);
  const repeated = (draw: (n: number) => unknown) =>
    Array.from({ length: runs + 1 }, () => {
      signal.throwIfAborted();
      return seconds(() => draw(count));
    }).slice(1);
  const makers: Maker[] = [
    {
      ...{ name: 'TorchGenerator', sameAs: 'torch' },
      seconds: { normals: repeated((n) => torch.randn(n)), uniforms: repeated((n) => torch.rand(n)) },
    },
    { ...{ name: 'NumpyRandomState', sameAs: 'RandomState' }, seconds: { normals: repeated((n) => numpy.randn(n)) } },
  ];
  const peers = spawnSync(python, [peer, String(count), String(runs)], { encoding: 'utf8' });
  const absent =
    peers.status === 0 ? undefined : (peers.error?.message ?? (peers.signal || peers.stderr.trim().split('\n').at(-1)));
  if (absent === undefined) makers.push(...(JSON.parse(peers.stdout) as Maker[]));
  const steps = Object.entries(batches).map(([name, n]) => {
    const times = Array.from({ length: 50 }, () => 1000 * seconds(() => torch.randn(n)));
    return { name, count: n, milliseconds: timing(times.slice(10)).median };
  });

  const rows = makers.map(({ name, sameAs, seconds: taken }) => [
    `${name}${sameAs === undefined ? '' : ` (the numbers of ${sameAs})`}`,
    ...draws.map((draw) => (taken[draw] === undefined ? '' : timing(taken[draw]).median.toFixed(2))),
  ]);
  for (const [name, ...taken] of rows) say(`${name!.padEnd(48)} ${taken.map((s) => s.padStart(6)).join(' ')} s`);
  for (const { name, milliseconds } of steps)
    say(`${name.padEnd(48)} ${milliseconds.toFixed(2).padStart(6)} ms a step`);
  if (absent !== undefined) say(`Python is not here: ${absent}`);
  const where = circumstances(`pnpm bench:random${write === undefined ? '' : ` --write ${write}`}`);
  if (write !== undefined) {
    const body = [
      `Seconds for ${millions} million float32 numbers (NumPy's are float64), medians of ${runs} draws after one. JavaScript's`,
      'are made by one thread; PyTorch makes normals from more than 15 numbers with vectors, as `TorchGenerator` does.',
      '',
      ...table(['', ...draws.map((draw) => `>${draw}, s`)], rows),
      '',
      'A training step draws its noise before it computes, in the same thread:',
      '',
      ...table(
        ['batch', '>normals', '>ms'],
        steps.map(({ name, count, milliseconds }) => [name, String(count), milliseconds.toFixed(2)]),
      ),
      ...(absent === undefined ? [] : ['', `- Python is not here: ${absent}`]),
    ];
    writePage(write, page('Performance of random numbers', where, body), say);
  }
  result({ ...where, count, runs, makers, steps, absent: absent ?? null });
});

function seconds(run: () => unknown): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}
