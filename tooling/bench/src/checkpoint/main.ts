import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneOf, runCommand, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { Command } from 'commander';
import { circumstances, threadLimits, writePage } from '../page.js';
import type { WorkerTask } from './engine-worker.js';
import { type Entry, measureCheckpoint } from './measure.js';
import { type CheckpointName, checkpoints, costOf } from './networks.js';
import { bytesOf, type Checkpoint, type FileType, fileTypes, writeCheckpoint } from './random-checkpoint.js';
import { type CheckpointResult, rowText, updated } from './report.js';

const here = dirname(fileURLToPath(import.meta.url));
const names = Object.keys(checkpoints) as CheckpointName[];
const types = Object.keys(fileTypes) as FileType[];
const formats = ['float32', 'float16', 'bfloat16', 'int8', 'int4'] as const;
type Format = (typeof formats)[number];
/** Bytes of a weight as each format keeps it, about. */
const bytesPerWeight: Readonly<Record<Format, number>> = { float32: 4, float16: 2, bfloat16: 2, int8: 4, int4: 4 };
/** What a process takes beside its weights, about. */
const REST = 2 ** 30;

interface Flags {
  readonly network: readonly CheckpointName[];
  readonly folder: string;
  readonly file: FileType;
  readonly weights: readonly Format[];
  readonly torch: 'float32' | 'bfloat16' | 'float16' | 'none';
  readonly runs: number;
  readonly cold: boolean;
  readonly keep: boolean;
  readonly onlyWrite: boolean;
  readonly python: string;
  readonly write?: string;
}

const command = new Command('bench:checkpoint')
  .description(
    'Writes checkpoints of published sizes with random weights, and loads and runs them with onnxruntime and, if it is\n' +
      'there, PyTorch: seconds to load, of the first step and of a step, memory, and the error of the answer.',
  )
  .requiredOption('--folder <folder>', 'where the files go; they take up to 10 GB each')
  .option(
    '--network <list>',
    `some of ${names.map((name) => `${name} (${checkpoints[name].about})`).join('; ')}`,
    list('--network', names),
    ['sd15'] as const,
  )
  .option('--file <type>', `type of the numbers in the file: ${types.join(', ')}`, oneOf('--file', types), 'float32')
  .option(
    '--weights <list>',
    `how onnxruntime keeps the weights, one contestant each: ${formats.join(', ')}`,
    list('--weights', formats),
    ['float32'] as const,
  )
  .option(
    '--torch <type>',
    'what PyTorch computes in: float32, bfloat16, float16; none leaves it out',
    oneOf('--torch', ['float32', 'bfloat16', 'float16', 'none'] as const),
    'float32',
  )
  .option('--runs <n>', 'counted steps after the first; 0 for the first alone', wholeNumber('--runs'), 3)
  .option('--cold', 'load files that are not in the page cache', false)
  .option('--keep', 'leave the files for the next run, which does not write them again', false)
  .option('--only-write', 'write the files and leave them', false)
  .option('--python <program>', 'a Python with PyTorch and diffusers to compare with', 'python3')
  .option('--write <file>', 'write the tables as Markdown, for example docs/checkpoints.md');

await runCommand<Flags>(command, async (flags, { say, result, signal }) => {
  await useBackend({ engine: 'cpu' }); // Draws the numbers; contestants have engines of their own.
  const results: CheckpointResult[] = [];
  for (const name of flags.network) {
    const checkpoint = await writeCheckpoint(name, checkpoints[name], flags.file, flags.folder, signal);
    try {
      if (!flags.onlyWrite) results.push(await bench(name, checkpoint, flags, signal));
    } finally {
      const leave = flags.keep || flags.onlyWrite || !checkpoint.written;
      if (!leave) rmSync(checkpoint.folder, { recursive: true });
    }
    const measured = results.at(-1);
    if (measured === undefined) say(`${checkpoint.weights}: ${(checkpoint.bytes / 1e9).toFixed(2)} GB`);
    else print(measured, say);
  }
  if (flags.write !== undefined && results.length > 0) {
    const before = existsSync(flags.write) ? readFileSync(flags.write, 'utf8') : undefined;
    writePage(flags.write, updated(before, results), say);
  }
  result(results);
});

async function bench(
  name: CheckpointName,
  checkpoint: Checkpoint,
  flags: Flags,
  signal: AbortSignal,
): Promise<CheckpointResult> {
  const { about, step } = checkpoints[name];
  const { parameters, macs } = costOf(checkpoints[name]);
  const task = (weights: string, engine: string): WorkerTask & { folder: string } => ({
    ...{ engine, network: name, weights, folder: checkpoint.folder },
    weightFile: checkpoint.weights,
    inputFile: checkpoint.inputs,
    answerFile: join(checkpoint.folder, `answer-${engine}-${weights}.bin`),
  });
  const entry = (label: string, program: string, script: readonly string[], t: WorkerTask, bytes: number): Entry => ({
    ...{ name: label, program, args: [...script, JSON.stringify(t)], answerFile: t.answerFile },
    bytes: parameters * bytes + REST,
  });
  const node = [...process.execArgv, join(here, 'engine-worker.ts')];
  const torch = task(flags.torch, 'pytorch');
  const entries = [
    ...(flags.torch === 'none'
      ? []
      : [
          entry(
            `pytorch ${flags.torch}`,
            flags.python,
            [join(here, '..', '..', 'peers', 'checkpoint.py')],
            torch,
            flags.torch === 'float32' ? 4 : 2,
          ),
        ]),
    ...flags.weights.map((weights) =>
      entry(`onnxruntime ${weights}`, process.execPath, node, task(weights, 'onnxruntime'), bytesPerWeight[weights]),
    ),
  ];
  const env = { ...threadLimits, HF_HUB_OFFLINE: '1' };
  const { runs, cold } = flags;
  const measured = await measureCheckpoint(name, entries, {
    ...{ runs, cold, env, signal },
    weightFile: checkpoint.weights,
  });
  return {
    ...{ network: name, about, step, fileType: flags.file, fileBytes: bytesOf(checkpoints[name], flags.file), cold },
    ...{ parameters, macs, runs },
    ...circumstances(repeat(name, flags)),
    ...measured,
  };
}

function print(measured: CheckpointResult, say: (line: string) => void): void {
  const { network, fileType, about, macs, rows, absent, interleaved } = measured;
  say(`${network} ${fileType}: ${about}${interleaved ? '' : ' (one contestant after another)'}`);
  for (const row of rows) say(`  ${rowText(row, macs)}`);
  for (const { contestant, reason } of absent) say(`  ${contestant.padEnd(28)} not here: ${reason}`);
}

function list<T extends string>(flag: string, words: readonly T[]): (text: string) => readonly T[] {
  return (text) => text.split(',').map(oneOf(flag, words));
}

/** The command line again, without what depends on this machine's folders. */
function repeat(network: CheckpointName, { file, weights, torch, runs, cold, write }: Flags): string {
  const flags = [
    `--folder scratch --network ${network} --file ${file} --weights ${weights.join(',')} --torch ${torch} --runs ${runs}`,
    ...(cold ? ['--cold'] : []),
    ...(write === undefined ? [] : [`--write ${write}`]),
  ];
  return `pnpm bench:checkpoint ${flags.join(' ')}`;
}
