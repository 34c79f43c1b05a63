import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { architectureOfKind } from '@mezzotint/architectures';
import { useBackend } from '@mezzotint/backend';
import { type DenoisingNetwork, MezzotintError, type RandomStream, type TimeInput } from '@mezzotint/core';
import { openPipeline } from '@mezzotint/pipelines/node';
import type { NoiseSource } from '@mezzotint/schedulers';
import { recipes } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { trainConfigSchema, type WholeDiffusionTask } from '../src/config.js';
import { wholeConfig } from '../src/defaults.js';
import { diffusionTask } from '../src/diffusion-task.js';
import type { Task } from '../src/task.js';
import type { TrainingData } from '../src/training-data.js';

// A perfect network in the place of a trained one: the loss of `train` teaches it, and `sample` makes pictures with it. The data are
// Gaussian, so the best prediction at a level is a line F = a x + b of what the network is given. Nothing here says what x, time or F
// are of a recipe: where training and sampling do not mean the same by them, the pictures have another mean or deviation than the data.

const root = mkdtempSync(join(tmpdir(), 'mezzotint-statistics-'));
beforeAll(async () => void (await useBackend({ engine: 'cpu' })));
afterEach(() => void vi.restoreAllMocks());
afterAll(() => rmSync(root, { recursive: true, force: true }));

const side = 4;
const area = side * side;

/** Means of two classes and of no class, and the deviation that pixels have. With guidance 2 all stay within [-1, 1]. */
const means = [0.3, -0.2, 0.1] as const;
const NONE = 2;
const deviation = 0.45;

/** Numbers 1 and -1 of mean 0, of which no two patterns correlate: noise with exactly the moments of a normal number. */
const pattern = (k: number) =>
  Float32Array.from({ length: area }, (_, i) => (-1) ** [...(i & k).toString(2)].filter((bit) => bit === '1').length);
const [ofPicture, ofNoise, ofStart] = [pattern(1), pattern(2), pattern(3)] as const;

/** One pattern for each of n pictures. */
function repeated(values: Float32Array, n: number): Float32Array {
  return Float32Array.from({ length: n * area }, (_, i) => values[i % area]!);
}

/** Levels that are learned, and their u: all steps of a process, or evenly with more at both ends. */
const LEVELS = 1000;
const even = Float64Array.from({ length: LEVELS }, (_, i) => (i + 0.5) / LEVELS);
const withEnds = even.map((u, i) => (i % 2 === 0 ? u : 1 / (1 + Math.exp(17 * (1 - 2 * u))))).sort();

/** The noise of training, and the levels in the order of `us`. Labels come first: they are dropped or not. */
function levelsOf(us: Float64Array, dropped: boolean): RandomStream {
  let call = 0;
  return {
    randn: (n) => repeated(ofNoise, n / area),
    // Levels are stratified: u = (i + r) / n.
    rand: (n) => Float32Array.from(us, (u, i) => (call++ < n ? (dropped ? 0 : 1 - 2 ** -24) : n * u - i)),
  };
}

type Forward = (x: tf.Tensor4D, time: tf.Tensor1D, label: number) => tf.Tensor4D;

/** A prediction, with the interpolation of the variance behind it where that is learned, too: its middle. */
function withVariance(f: tf.Tensor4D, channels: number): tf.Tensor4D {
  return tf.pad(f, [
    [0, 0],
    [0, 0],
    [0, 0],
    [0, channels - 1],
  ]) as tf.Tensor4D;
}

/** The line at each level, by the time that the network is told there. */
interface Learned {
  readonly time: number;
  readonly a: number;
  readonly b: number;
  /** sigma / alpha of x. */
  readonly ratio: number;
  /** The least loss. */
  readonly least: number;
}

/** What a perfect network learns of the pictures of a label: F that no other line's loss is below, level by level. */
function learn(task: Task, us: Float64Array, label: number, channels: number, answerWith: (forward: Forward) => void) {
  const x0 = ofPicture.map((p) => means[label]! + deviation * p);
  const images = repeated(x0, LEVELS);
  const batch = { images, labels: new Int32Array(LEVELS).fill(label % NONE), shape: [LEVELS, side, side, 1] };
  let [x, times] = [new Float32Array(), new Float32Array()];
  /** The gradient of the losses where all predictions are this number. */
  const gradient = (prediction: number) =>
    tf.tidy(() => {
      const losses = (f: tf.Tensor4D) => {
        answerWith((noisy, time, told) => {
          expect(told).toBe(label);
          [x, times] = [noisy.dataSync<'float32'>().slice(), time.dataSync<'float32'>().slice()];
          return withVariance(f, channels);
        });
        return tf.sum(task.loss({ batch, rng: levelsOf(us, label === NONE) } as never) as tf.Tensor);
      };
      const f = tf.fill([LEVELS, side, side, 1], prediction);
      return tf
        .grad(losses as never)(f)
        .dataSync<'float32'>()
        .slice();
    });
  const [at0, at1] = [gradient(0), gradient(1)];
  const learned = Array.from(times, (time, level): Learned => {
    const of = (values: Float32Array) => values.subarray(level * area, (level + 1) * area);
    // The loss is w (F - target)^2 / area, so its gradient is 2 w (F - target) / area.
    const slopes = of(at1).map((g, i) => g - of(at0)[i]!);
    const target = of(at0).map((g, i) => -g / slopes[i]!);
    const given = of(x);
    const [mx, mt] = [mean(given), mean(target)];
    const a = mean(given.map((v, i) => (v - mx) * (target[i]! - mt))) / mean(given.map((v) => (v - mx) ** 2));
    const b = mt - a * mx;
    const least = ((slopes[0]! * area) / 2) * mean(given.map((v, i) => (a * v + b - target[i]!) ** 2));
    const part = (of: Float32Array) => mean(given.map((v, i) => v * of[i]!));
    return { time, a, b, ratio: (part(ofNoise) * deviation) / part(ofPicture), least };
  });
  // At the ends several levels may have one time in float32.
  return learned.sort((one, other) => one.time - other.time).filter(({ time }, i, all) => time !== all[i - 1]?.time);
}

/** a x + b at a time, between those that were learned. */
function predict(learned: readonly Learned[], x: tf.Tensor4D, time: number): tf.Tensor4D {
  const above = learned.findIndex((one) => one.time > time);
  const i = above < 0 ? learned.length - 1 : Math.max(above, 1);
  const [low, high] = [learned[i - 1]!, learned[i]!];
  const w = (time - low.time) / (high.time - low.time);
  return tf.tidy(() => tf.add(tf.mul(x, low.a + w * (high.a - low.a)), low.b + w * (high.b - low.b)));
}

function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function momentsOf(x: Float32Array): [number, number] {
  return [mean(x), Math.sqrt(mean(x.map((v) => (v - mean(x)) ** 2)))];
}

/** The smallest networks of each kind of time; they are not run. */
function networkOf(time: TimeInput, recipe: string, learnedVariance: boolean) {
  const small: Readonly<Record<TimeInput, readonly [string, object]>> = {
    timestep: ['DiT', { width: 8, depth: 1, heads: 2 }],
    unit: ['ZigMa', { width: 8, depth: 1 }],
    sigma: [recipe === 'edm2' ? 'EDM2' : 'EDM', { modelChannels: 4, channelMult: [1], attentionSizes: [] }],
    gamma: ['RIN', { latents: 4, latentWidth: 8, latentHeads: 2, tokenWidth: 8, readWriteHeads: 2, blocks: [1] }],
    'log-snr': ['SimpleDiffusionUViT', { width: 8, depth: 1, headWidth: 4, embeddingWidth: 8 }],
  };
  const [name, change] = small[time];
  const architecture = architectureOfKind('denoiser', name);
  const { unet, ...network } = architecture.sized!('small', {
    ...{ imageSize: side, channels: 1, classes: 2, learnedVariance },
  }) as unknown as { unet?: object };
  const heads = name === 'EDM2' ? { channelsPerHead: 4 } : {};
  return {
    architecture,
    network: unet ? { ...network, unet: { ...unet, ...change, ...heads } } : { ...network, ...change },
  };
}

const data: TrainingData = {
  ...{ count: 64, height: side, width: side, channels: 1, classes: ['a', 'b'], captioned: 0, captions: [] },
  ...{ fingerprint: '', report: [] },
  open: () => {
    throw new Error('the batches are made here');
  },
};

/** What a square error of x0 counts in the loss at r = sigma / alpha, by the papers; side 4 is the only scale. */
const counts: Readonly<Record<string, (r: number) => number>> = {
  ddpm: (r) => r ** -2, // ||eps error||^2 = SNR ||x0 error||^2
  'v-cosine': (r) => r ** -2 + 1,
  'min-snr': (r) => Math.min(r ** -2, 5),
  'improved-ddpm': (r) => r ** -2, // and the bound, which tells eps nothing
  dit: (r) => r ** -2,
  flow: (r) => (1 + 1 / r) ** 2,
  'rectified-flow': (r) => (1 + 1 / r) ** 2,
  edm: (r) => (r ** 2 + 0.25) / (0.25 * r ** 2),
  edm2: (r) => (r ** 2 + 0.25) / (0.25 * r ** 2),
  'simple-diffusion': (r) => r ** -2 / side,
  // w(l) / (2 p(l)) SNR with w = sigmoid(2 - l), p = alpha sigma / (2 a) of the cosine over an angle of a.
  'vdm++': (r) => {
    const angle = Math.atan(Math.exp(7.5)) - Math.atan(Math.exp(-7.5));
    return ((angle * (r + 1 / r)) / (1 + Math.exp(-2 * Math.log(r) - 2))) * r ** -2;
  },
  imagen: (r) => r ** -2 + 1,
  rin: (r) => r ** -2,
};

const times: readonly TimeInput[] = ['timestep', 'unit', 'sigma', 'gamma', 'log-snr'];
const cases = recipes.flatMap((recipe) =>
  times.flatMap((time) => {
    try {
      const process = recipe.process({ imageSize: side, time });
      return [{ recipe: recipe.name, time, process }];
    } catch (error) {
      if (!MezzotintError.isInstance(error)) throw error;
      return []; // The recipe cannot tell a network this time.
    }
  }),
);

test.each(cases)(
  '$recipe, a network told its $time: pictures have the mean and the deviation of the data',
  async ({ recipe, time, process }) => {
    const learnedVariance = process.kind === 'discrete' && process.learnedVariance;
    const channels = learnedVariance ? 2 : 1;
    const { architecture, network } = networkOf(time, recipe, learnedVariance);
    const asked = { task: 'diffusion', recipe, architecture: architecture.name, network, steps: 100, batchSize: 4 };
    const config = wholeConfig(trainConfigSchema.parse({ ...asked, data: { kind: 'digits' } }), side);
    const task = await diffusionTask(config as WholeDiffusionTask, data);

    let forward: Forward;
    const answerWith = (other: Forward) => {
      forward = other;
    };
    const answer: DenoisingNetwork['forward'] = (x, times, inputs) => {
      const labels = [...inputs!.labels!.dataSync()];
      if (x.shape[0] === LEVELS) return forward(x, times, labels[0]!);
      return tf.tidy(() =>
        tf.concat(
          tf.split<tf.Tensor4D>(x, x.shape[0]).map((one, i) => forward(one, times, labels[i]!)),
          0,
        ),
      );
    };
    const prototype = Object.getPrototypeOf(task.model) as DenoisingNetwork;
    vi.spyOn(prototype, 'forward').mockImplementation(answer);
    // RIN's latents go on from step to step in sampling.
    const state = (x: tf.Tensor4D) => tf.zeros([x.shape[0], 4, 8]);
    const pass = (...args: Parameters<typeof answer>) => {
      return { prediction: answer(...args), latents: state(args[0]), tokens: state(args[0]) };
    };
    if ('pass' in prototype) vi.spyOn(prototype as unknown as { pass: typeof pass }, 'pass').mockImplementation(pass);
    // EDM2's uncertainty of its loss: none.
    const certain = (noise: tf.Tensor1D) => tf.zerosLike(noise);
    if ('logVariance' in prototype) {
      const uncertain = prototype as unknown as { logVariance: typeof certain };
      vi.spyOn(uncertain, 'logVariance').mockImplementation(certain);
    }

    const us = process.kind === 'discrete' ? even : withEnds;
    const learned = [0, 1, NONE].map((label) => learn(task, us, label, channels, answerWith));
    for (const { ratio: r, least } of learned[0]!) {
      if (!(r > 0.02 && r < 50)) continue; // float32 tells too little of the smaller part
      const error = (deviation ** 2 * r ** 2) / (deviation ** 2 + r ** 2);
      expect(Math.abs(least / (error * counts[recipe]!(r)) - 1), `loss at sigma / alpha ${r}`).toBeLessThan(0.02);
    }

    answerWith((x, told, label) => withVariance(predict(learned[label]!, x, told.dataSync()[0]!), channels));
    const folder = join(root, `${recipe}-${time}`);
    await task.save!(folder, { half: false });
    const pipeline = await openPipeline(folder);
    const noise = (): NoiseSource => ({
      draw: ([n]) => repeated(ofStart, n!),
      save: () => null,
      restore: () => undefined,
    });
    // The solver's error of many steps, and of the makers'.
    for (const [request, tolerance] of [
      [{ guidance: 1, steps: 150 }, 0.025],
      [{ guidance: 2 }, 0.15],
    ] as const) {
      const { guidance } = request;
      let x = new Float32Array();
      for await (const step of pipeline.steps({ ...request, labels: [0, 1], batch: 2 }, { noise })) {
        x = step.x.dataSync<'float32'>().slice();
      }
      for (const label of [0, 1]) {
        const [m, d] = momentsOf(x.subarray(label * area, (label + 1) * area));
        // With one deviation for all, guidance moves means only. They are off by what the last level leaves of them, and by float32
        // where eps says x0 at an alpha of 3e-5 (RIN).
        const expected = means[NONE] + guidance * (means[label]! - means[NONE]);
        expect(Math.abs(m - expected) / guidance, `mean of class ${label} with guidance ${guidance}`).toBeLessThan(
          0.005,
        );
        expect(Math.abs(d / deviation - 1), `deviation of class ${label} with guidance ${guidance}`).toBeLessThan(
          tolerance,
        );
      }
    }
    pipeline.dispose();
  },
);
