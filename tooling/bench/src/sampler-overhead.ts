import { runCommand, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import {
  cosineBetas,
  discreteProcess,
  initialNoise,
  run,
  type Solver,
  type SolverName,
  solvers,
  timestepSchedule,
  torchNoise,
  trailingTimesteps,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { networks } from './networks.js';
import { timing } from './statistics.js';

/** Solvers that are timed: one of each kind of step. */
const timed: readonly SolverName[] = [
  'ddim',
  'euler',
  'dpmpp-2m',
  'unipc-2',
  'ddpm',
  'euler-ancestral',
  'dpmpp-2m-sde',
];
const shape = [8, 32, 32, 3] as const;

const command = new Command('sampler-overhead')
  .description(
    'What a step of a solver costs outside of the network, beside a forward pass of the small UNet (8x32x32x3).',
  )
  .option('--steps <n>', 'steps of each run', wholeNumber('--steps', 5), 50)
  .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)');

await runCommand<{ steps: number; engine?: string }>(command, async ({ steps, engine: asked }, { say, result }) => {
  const engine = await useBackend({ engine: asked });
  const table = timestepSchedule(discreteProcess(cosineBetas()), trailingTimesteps(1000, steps));
  const network = networks.unet.build();
  const forwards: number[] = [];
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    const answer = network.forward();
    await answer.data();
    answer.dispose();
    if (i > 1) forwards.push(performance.now() - start); // The first two compile and warm up.
  }
  const forward = timing(forwards).median;
  say(`${engine.name} ${engine.version}: forward of the UNet ${forward.toFixed(1)} ms`);
  const rows = [];
  for (const name of timed) {
    const noise = torchNoise(0);
    const start = initialNoise(table, [...shape], noise);
    const gaps: number[] = [];
    let last = performance.now();
    // A network that answers at once: what is left is the solver, its noise and its scalars.
    const estimate = (x: tf.Tensor4D) => tf.mul(x, 0.5) as tf.Tensor4D;
    for await (const step of run(
      solvers[name].create() as Solver<'vp', 'estimate'>,
      estimate,
      start,
      table,
      undefined,
      { noise },
    )) {
      await step.x.data();
      if (step.index > 2) gaps.push(performance.now() - last);
      last = performance.now();
    }
    start.dispose();
    const { median } = timing(gaps);
    rows.push({ solver: name, milliseconds: median, share: median / forward });
    say(
      `${name.padEnd(16)} ${median.toFixed(2)} ms a step, ${((100 * median) / forward).toFixed(2)} % of a forward pass`,
    );
  }
  result({ engine: engine.name, version: engine.version, forward, steps, rows });
});
