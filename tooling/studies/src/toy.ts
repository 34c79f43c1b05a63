import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import type { Denoiser } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { imageGrid, plotLines } from '@mezzotint/figures';
import { autoguidance } from '@mezzotint/guidance';
import { TorchGenerator } from '@mezzotint/random';
import { perImageNoise, run, samplerFromProcess } from '@mezzotint/schedulers';
import type { EDM2 } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { writeJson } from './files.js';
import { type ToyNetwork, trainToy } from './toy-network.js';
import { analyse, drawPoints, type Mixture, twoClasses } from './tree.js';

/** The flags of `study toy`. */
export interface ToyFlags {
  readonly out: string;
  readonly steps: number;
  readonly batch: number;
  readonly points: number;
  readonly seed: number;
}

/** Levels at which scores are compared, and the one whose density tells outliers. */
const comparedLevels = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
const densityLevel = 0.005;

/**
 * The toy of the autoguidance paper (Karras et al. 2024, section 3): how far a learned score is from the analytic one, and how many
 * samples lie outside of the data without guidance, with the classes' mixture as the guide (classifier-free guidance), and with a
 * smaller and less trained network as the guide (autoguidance). Goes on where it was stopped.
 */
export async function runToy({ out, steps, batch, points, seed }: ToyFlags, { say, result, signal }: CommandContext) {
  mkdirSync(out, { recursive: true });
  const { a, both } = twoClasses();
  const networks = [
    { name: 'main', mixture: a, width: 64, steps },
    { name: 'weak', mixture: a, width: 32, steps: Math.max(Math.round(steps / 8), 1) },
    { name: 'both classes', mixture: both, width: 64, steps },
  ];
  const progress = startProgress(
    'Training',
    networks.reduce((sum, { steps }) => sum + steps, 0),
  );
  const models: EDM2<ToyNetwork>[] = [];
  let before = 0;
  try {
    for (const { name, mixture, width, steps } of networks) {
      const folder = join(out, 'checkpoints', name.replace(' ', '-'));
      models.push(
        await trainToy(mixture, { folder, width, steps, batch, seed }, (step) => {
          signal.throwIfAborted();
          progress.update(before + step);
        }),
      );
      before += steps;
    }
  } finally {
    progress.stop();
  }
  const [main, weak, unconditional] = models as [EDM2<ToyNetwork>, EDM2<ToyNetwork>, EDM2<ToyNetwork>];

  const errors = networks.map(({ name, mixture }, i) => ({
    network: name,
    relativeScoreError: comparedLevels.map((sigma) => scoreError(models[i]!, mixture, sigma, seed)),
  }));
  await writePng(
    join(out, 'toy-score-error.png'),
    plotLines(
      errors.map(({ network, relativeScoreError }) => ({
        name: network,
        x: comparedLevels.map(Math.log10),
        y: relativeScoreError,
      })),
      {
        title: 'RMS error of the score, relative to its RMS',
        xLabel: 'log10 sigma',
        yLabel: 'relative error',
        yScale: 'log',
      },
    ),
    { overwrite: true },
  );

  const truth = drawPoints(a, points, new TorchGenerator(seed + 1));
  const densities = sorted(
    Array.from({ length: points }, (_, n) => analyse(a, truth[2 * n]!, truth[2 * n + 1]!, densityLevel).logDensity),
  );
  // One in a thousand of the true points is called an outlier.
  const threshold = densities[Math.floor(points / 1000)]!;
  const denoiser =
    (model: EDM2<ToyNetwork>): Denoiser =>
    (x, at) =>
      model.forward(x, tf.fill([x.shape[0]], at.sigma));
  const guided = (weaker: EDM2<ToyNetwork>, scale: number) =>
    autoguidance(denoiser(main), { weaker: denoiser(weaker), scale });
  const runs: [string, Denoiser][] = [
    ['no guidance', denoiser(main)],
    ...[1.5, 2, 3].map((w): [string, Denoiser] => [`classifier-free, w = ${w}`, guided(unconditional, w)]),
    ...[1.5, 2, 3].map((w): [string, Denoiser] => [`autoguidance, w = ${w}`, guided(weak, w)]),
  ];
  const rows = [{ name: 'data', ...judged(a, truth, threshold) }];
  const pictures = [density(truth)];
  for (const [name, model] of runs) {
    signal.throwIfAborted();
    const samples = await sampled(model, points, seed + 2);
    rows.push({ name, ...judged(a, samples, threshold) });
    pictures.push(density(samples));
  }
  const grid = {
    images: Buffer.concat(pictures),
    count: pictures.length,
    height: side,
    width: side,
    channels: 1 as const,
  };
  await writePng(join(out, 'toy.png'), imageGrid(grid, { columns: 4, captions: rows.map(({ name }) => name) }), {
    overwrite: true,
  });
  const summary = { steps, batch, points, seed, levels: comparedLevels, errors, threshold, rows };
  writeJson(join(out, 'toy.json'), summary);
  for (const { network, relativeScoreError } of errors) {
    say(
      `${network.padEnd(24)} score error ${relativeScoreError.map((e) => e.toFixed(3)).join(' ')} at sigma ${comparedLevels.join(' ')}`,
    );
  }
  for (const { name, outliers, branches } of rows) {
    say(`${name.padEnd(24)} outliers ${(100 * outliers).toFixed(2)} %, branches reached ${branches} of 127`);
  }
  result(summary);
  for (const model of models) model.dispose();
}

/** sqrt(E |learned - analytic|^2 / E |analytic|^2) over points of the blurred mixture. */
function scoreError(model: EDM2<ToyNetwork>, mixture: Mixture, sigma: number, seed: number): number {
  const count = 500;
  const rng = new TorchGenerator(seed + 3);
  const clean = drawPoints(mixture, count, rng);
  const noise = rng.randn(2 * count);
  const x = clean.map((value, i) => value + sigma * noise[i]!);
  const estimates = tf.tidy(() => model.forward(tf.tensor4d(x, [count, 1, 1, 2]), tf.fill([count], sigma)).dataSync());
  let [error, size] = [0, 0];
  for (let n = 0; n < count; n++) {
    const { score } = analyse(mixture, x[2 * n]!, x[2 * n + 1]!, sigma);
    score.forEach((exact, axis) => {
      const learned = (estimates[2 * n + axis]! - x[2 * n + axis]!) / sigma ** 2;
      error += (learned - exact) ** 2;
      size += exact ** 2;
    });
  }
  return Math.sqrt(error / size);
}

/** Heun with 32 steps from sigma 5 to 0.002. */
async function sampled(model: Denoiser, count: number, seed: number): Promise<Float32Array> {
  const sampler = samplerFromProcess(
    { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 5 },
    { solver: 'heun', limit: null },
  );
  const schedule = sampler.schedule({ steps: 32 });
  const x = tf.tidy(
    () => tf.mul(tf.tensor4d(new TorchGenerator(seed).randn(2 * count), [count, 1, 1, 2]), 5) as tf.Tensor4D,
  );
  let last = new Float32Array(0);
  for await (const step of run(sampler.solver, model as never, x, schedule, undefined, {
    noise: perImageNoise([seed]),
  })) {
    last = Float32Array.from(await step.x.data());
  }
  x.dispose();
  return last;
}

/** The share of points whose density is below the threshold, and how many branches got a fifth of the points that they have in the data. */
function judged(mixture: Mixture, points: Float32Array, threshold: number) {
  const count = points.length / 2;
  const got = new Map<number, number>();
  let outliers = 0;
  for (let n = 0; n < count; n++) {
    const { logDensity, branch } = analyse(mixture, points[2 * n]!, points[2 * n + 1]!, densityLevel);
    if (!(logDensity >= threshold)) outliers += 1;
    else got.set(branch, (got.get(branch) ?? 0) + 1);
  }
  const share = new Map<number, number>();
  for (const { branch, weight } of mixture) share.set(branch, (share.get(branch) ?? 0) + weight);
  const branches = [...share].filter(([branch, weight]) => (got.get(branch) ?? 0) >= 0.2 * weight * count).length;
  return { outliers: outliers / count, branches };
}

/** Pixels a side of a picture of points, and the square of the plane that it shows: the first class. */
const side = 320;
const view = { left: -0.2, top: 1.25, size: 2.2 };

/** Where points lie, dark where there are many; rows of bytes. */
function density(points: Float32Array): Uint8Array {
  const counts = new Float64Array(side * side);
  for (let n = 0; n < points.length / 2; n++) {
    const column = Math.floor(((points[2 * n]! - view.left) / view.size) * side);
    const row = Math.floor(((view.top - points[2 * n + 1]!) / view.size) * side);
    if (column >= 0 && column < side && row >= 0 && row < side) counts[row * side + column]! += 1;
  }
  return Uint8Array.from(counts, (count) => Math.round(255 * Math.exp(-0.6 * count)));
}

function sorted(values: number[]): number[] {
  return values.sort((a, b) => a - b);
}
