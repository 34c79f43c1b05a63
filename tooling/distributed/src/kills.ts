import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deriveSeed, NumpyRandomState } from '@mezzotint/core';
import { findMpirun, launch, ranksOf } from './launch.js';

/** How often ranks are killed, and what is trained. */
export interface KillsOptions {
  readonly kills: number;
  readonly seed: number;
  /** Pictures to train on; the digits when absent. */
  readonly data?: string;
}

const TRAIN = 'apps/train/src/main.ts';

/** A small network on 16 pictures an update, in 4 micro-batches, which 1, 2 and 4 ranks share. */
function config(steps: number, data: string | undefined): object {
  const channels = data === undefined ? 1 : 3;
  return {
    task: 'diffusion',
    data: data === undefined ? { kind: 'digits' } : { kind: 'folder', path: data, size: 16, labels: 'none' },
    network: {
      ...{ imageSize: data === undefined ? 28 : 16, inChannels: channels, outChannels: channels, modelChannels: 16 },
      ...{ channelMult: [1, 2], resBlocks: 1, attentionResolutions: [2], heads: { count: 2 }, headsUp: { count: 2 } },
      ...{ attentionOrder: 'new', timeConditioning: 'scale-shift', resampling: 'pool', groups: 8, dropout: 0 },
      ...(data === undefined ? { classes: 10, nullLabel: true } : { classes: null, nullLabel: false }),
    },
    ...{ steps, batchSize: 16, microBatches: 4, recipe: 'v-cosine', half: false },
    every: { log: 1, sample: 1_000_000, checkpoint: 3 },
    sampling: { solver: 'ddim', steps: 2, guidance: 1 },
  };
}

/**
 * Trains once in one process without a stop, and once with 1, 2 or 4 ranks of which one is killed by SIGKILL again and again; each
 * time the whole job has to end, and the next one goes on from the last checkpoint with another number of ranks. Weights and log
 * have to be the same bytes in the end.
 */
export async function runKills({ kills, seed, data }: KillsOptions, say: (line: string) => void): Promise<boolean> {
  if (findMpirun() === undefined) throw new Error('no mpirun on the path: install Open MPI');
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-kills-'));
  const steps = 4 * kills;
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify(config(steps, data)));
  const [whole, parts] = [join(folder, 'whole'), join(folder, 'parts')];
  const first = await launch(1, TRAIN, ['--config', file, '--run', whole]).ended;
  if (first.code !== 0) throw new Error(first.output);
  say(`One process, ${steps} updates: weights ${hashOf(whole)}`);
  const random = new NumpyRandomState(deriveSeed(seed, 'kills'));
  const draw = (below: number) => Math.floor(random.rand(1)[0]! * below);
  for (let kill = 1; kill <= kills; kill++) {
    const ranks = [2, 4][draw(2)]!;
    const begun = existsSync(join(parts, 'config.json'));
    const before = stepOf(parts);
    const { child, ended } = launch(
      ranks,
      TRAIN,
      begun ? ['--resume', '--run', parts] : ['--config', file, '--run', parts],
    );
    // Mostly in the training, at a random moment of an update; sometimes while the ranks start.
    const [after, delay] = draw(5) === 0 ? [-1, draw(6000)] : [before + 1 + draw(5), draw(300)];
    let over = false;
    void ended.then(() => {
      over = true;
    });
    while (!over && stepOf(parts) < after) await soon(20);
    await soon(delay);
    const victims = ranksOf(child);
    const victim = victims[draw(victims.length)];
    if (victim !== undefined) process.kill(victim, 'SIGKILL');
    const { code, output } = await ended;
    if (victim !== undefined && code === 0) {
      say(`  kill ${kill}: the job had just ended in order`);
    } else if (code === 0) throw new Error(`the job ended before it could be killed:\n${output}`);
    say(
      `  kill ${kill} of ${kills}: one of ${ranks} ranks, at update ${stepOf(parts)}; the job ended with code ${code}`,
    );
  }
  const last = await launch([1, 2, 4][draw(3)]!, TRAIN, ['--resume', '--run', parts]).ended;
  if (last.code !== 0) throw new Error(last.output);
  const same = hashOf(parts) === hashOf(whole) && losses(parts) === losses(whole);
  say(`After ${kills} kills: weights ${hashOf(parts)}, ${same ? 'the same, as is the log' : 'DIFFERENT'}`);
  return same;
}

function hashOf(run: string): string {
  return createHash('sha256')
    .update(readFileSync(join(run, 'model', 'model.safetensors')))
    .digest('hex')
    .slice(0, 16);
}

/** Update, loss and norm of each line of the log. */
function losses(run: string): string {
  return linesOf(run)
    .map(({ step, loss, gradientNorm }) => `${step} ${loss} ${gradientNorm}`)
    .join('\n');
}

/** The last update in the log. */
function stepOf(run: string): number {
  return linesOf(run).at(-1)?.step ?? 0;
}

function linesOf(run: string): { step: number; loss: number; gradientNorm: number }[] {
  const file = join(run, 'log.jsonl');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return []; // empty, or being written
    }
  });
}

function soon(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
