import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { single } from '@mezzotint/distributed';
import { findMpirun, launch } from './launch.js';

/** Turns of the comparison. */
export interface MeasureOptions {
  readonly turns: number;
}

const TRAIN = 'apps/train/src/main.ts';
const STEPS = 12;

/** Trains the digits' network for a few updates of 64 pictures; median seconds of an update, and gradient bytes that rank 0 sent. */
async function train(ranks: number, threads: number, folder: string, wire = 'float32'): Promise<number> {
  const config = {
    task: 'diffusion',
    ...{
      data: { kind: 'digits' },
      network: 'digits',
      recipe: 'v-cosine',
      steps: STEPS,
      batchSize: 64,
      microBatches: 2,
    },
    every: { log: 1, sample: 1_000_000, checkpoint: 1_000_000 },
    sampling: { solver: 'ddim', steps: 2, guidance: 1 },
  };
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const run = mkdtempSync(join(folder, 'run-'));
  const args = ['--config', file, '--run', join(run, 'run'), '--wire', wire];
  const { code, output } = await launch(ranks, TRAIN, args, { OMP_NUM_THREADS: String(threads) }).ended;
  if (code !== 0) throw new Error(output);
  const log = readFileSync(join(run, 'run', 'log.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const seconds = log.slice(2).map((line) => (JSON.parse(line) as { seconds: number }).seconds); // without compiling
  return median(seconds);
}

/** What a group of one costs, and how two ranks of one thread compare with one rank of two, in turns. */
export async function runMeasure({ turns }: MeasureOptions, say: (line: string) => void): Promise<void> {
  say(`${cpus()[0]!.model}, ${cpus().length} cores, load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`);
  const group = single();
  const values = new Float32Array(1_000_000);
  const times: number[] = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    await group.allReduce(values, 'sum');
    times.push(performance.now() - start);
  }
  say(`A group of one: ${(1000 * median(times)).toFixed(1)} us for a sum of 1,000,000 numbers`);
  if (findMpirun() === undefined) {
    say('Two ranks: skipped, there is no mpirun on the path');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-measure-'));
  const ratios: number[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const one = await train(1, 2, folder);
    const two = await train(2, 1, folder);
    ratios.push(one / two);
    say(
      `Turn ${turn + 1}: an update takes ${one.toFixed(3)} s in one rank of 2 threads, ${two.toFixed(3)} s in two of 1`,
    );
  }
  say(
    `Efficiency of two ranks with one thread each: ${(100 * median(ratios)).toFixed(0)} % of one rank with two (median)`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
