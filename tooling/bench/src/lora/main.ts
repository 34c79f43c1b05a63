import { freemem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError } from '@mezzotint/core';
import { Command } from 'commander';
import { checkpoints } from '../checkpoint/networks.js';
import { writeCheckpoint } from '../checkpoint/random-checkpoint.js';
import { Contestant } from '../contestant.js';
import { circumstances, page, table, threadLimits, writePage } from '../page.js';

/** What both sides are told. */
export interface LoraTask {
  /** `config.json` and the weights of the UNet. */
  readonly folder: string;
  /** Latent pixels a side. */
  readonly latent: number;
  readonly batch: number;
  readonly rank: number;
  /** Blocks recompute themselves on the way back. */
  readonly checkpointing: boolean;
}

interface Flags {
  readonly folder: string;
  readonly size: number;
  readonly batch: number;
  readonly rank: number;
  readonly runs: number;
  readonly checkpointing: boolean;
  readonly torch: boolean;
  readonly python: string;
  readonly write?: string;
}

const here = dirname(fileURLToPath(import.meta.url));

const command = new Command('bench:lora')
  .description(
    "A LoRA step of Stable Diffusion 1.5's UNet (860 M parameters, random weights of full size) by ours and by diffusers with peft:\n" +
      'seconds and most resident memory. Latent images and states of texts are there already, as `train` keeps them.',
  )
  .requiredOption('--folder <folder>', 'where the weights go; 3.5 GB')
  .option('--size <pixels>', 'pixels a side', wholeNumber('--size', 64), 256)
  .option('--batch <n>', 'pictures in a batch', wholeNumber('--batch', 1), 1)
  .option('--rank <n>', 'rank of the LoRA, of all attention layers', wholeNumber('--rank', 1), 8)
  .option('--runs <n>', 'counted steps after the first', wholeNumber('--runs', 1), 3)
  .option('--no-checkpointing', 'keep what blocks compute instead of computing it again')
  .option('--no-torch', 'ours alone')
  .option('--python <program>', 'a Python with PyTorch, diffusers and peft to compare with', 'python3')
  .option('--write <file>', 'write the table as Markdown, for example out/lora.md');

/** One side's figures. */
interface Row {
  readonly name: string;
  readonly version: string;
  readonly loadSeconds: number;
  readonly firstSeconds: number;
  readonly stepSeconds: readonly number[];
  readonly peakBytes: number;
}

/** Most resident memory that a process may be expected to take. */
const NEEDS = 9 * 2 ** 30;

await runCommand<Flags>(command, async (flags, { say, result, signal }) => {
  await useBackend({ engine: 'cpu' }); // draws the numbers of the file
  const { folder } = await writeCheckpoint('sd15', checkpoints.sd15, 'float32', flags.folder, signal);
  if (freemem() < NEEDS / 2)
    throw new InvalidArgumentError('bench:lora', 'too little memory is free for a process of 9 GB');
  const { batch, rank, checkpointing } = flags;
  const task: LoraTask = { folder, latent: flags.size / 8, batch, rank, checkpointing };
  const sides = [
    { program: process.execPath, args: [...process.execArgv, join(here, 'engine-worker.ts'), JSON.stringify(task)] },
    ...(flags.torch
      ? [{ program: flags.python, args: [join(here, '..', '..', 'peers', 'lora.py'), JSON.stringify(task)] }]
      : []),
  ];
  const rows: Row[] = [];
  for (const { program, args } of sides) {
    const row = await measure(program, args, flags.runs, signal);
    if (typeof row === 'string') say(`Left out: ${row}`);
    else {
      rows.push(row);
      say(
        `${row.name} ${row.version}: ${median(row.stepSeconds).toFixed(2)} s a step (first ${row.firstSeconds.toFixed(1)} s), at most ${(row.peakBytes / 1e9).toFixed(2)} GB`,
      );
    }
  }
  const repeat = `pnpm bench:lora --folder scratch --size ${flags.size} --batch ${batch} --rank ${rank} --runs ${flags.runs}${checkpointing ? '' : ' --no-checkpointing'}`;
  if (flags.write !== undefined) writePage(flags.write, report(rows, task, circumstances(repeat)), say);
  result({ task, rows });
});

/** Runs one side alone: both together may not fit into memory. A string says why it is not there. */
async function measure(
  program: string,
  args: readonly string[],
  runs: number,
  signal: AbortSignal,
): Promise<Row | string> {
  const started = await Contestant.start(program, args, { ...threadLimits, HF_HUB_OFFLINE: '1' });
  if (typeof started === 'string') return started;
  const { contestant, introduction } = started;
  const stop = () => contestant.stop();
  signal.addEventListener('abort', stop, { once: true });
  const progress = startProgress(introduction.name, runs + 2);
  try {
    const load = await contestant.run('load');
    progress.update(1, runs + 2, 'loaded');
    const first = await contestant.run('step');
    progress.update(2, runs + 2, 'first step');
    const steps: number[] = [];
    let { peakBytes } = first;
    for (let i = 0; i < runs; i++) {
      const step = await contestant.run('step');
      steps.push(step.milliseconds / 1000);
      peakBytes = Math.max(peakBytes, step.peakBytes);
      progress.update(3 + i, runs + 2);
    }
    const { name, version } = introduction;
    const [loadSeconds, firstSeconds] = [load.milliseconds / 1000, first.milliseconds / 1000];
    return { name, version, loadSeconds, firstSeconds, stepSeconds: steps, peakBytes };
  } finally {
    progress.stop();
    signal.removeEventListener('abort', stop);
    contestant.stop();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function report(
  rows: readonly Row[],
  { latent, batch, rank, checkpointing }: LoraTask,
  at: ReturnType<typeof circumstances>,
) {
  const cells = rows.map((row) => [
    `${row.name} ${row.version}`,
    median(row.stepSeconds).toFixed(2),
    row.firstSeconds.toFixed(1),
    row.loadSeconds.toFixed(1),
    (row.peakBytes / 1e9).toFixed(2),
    rows.length > 1 ? (median(row.stepSeconds) / median(rows.at(-1)!.stepSeconds)).toFixed(2) : '',
  ]);
  return page("A LoRA step of Stable Diffusion 1.5's UNet", at, [
    `${8 * latent} x ${8 * latent} pixels, batch ${batch}, rank ${rank} on all attention layers, float32, ${checkpointing ? 'blocks recomputed on the way back' : 'nothing recomputed'}, AdamW, gradients clipped;`,
    'random weights of full size. Latent images and states of texts are there already. Sides ran one after the other.',
    '',
    ...table(['side', '>s a step', '>s first step', '>s loading', '>GB at most', '>time / diffusers'], cells),
  ]);
}
