import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  initialNoise,
  type Network,
  noised,
  type Step,
  sample,
  samplerFromDiffusers,
  startLevel,
  stepsOf,
  torchNoise,
} from '../src/index.js';
import golden from './fixtures/scheduler-configs.json' with { type: 'json' };

interface Case {
  readonly config: Readonly<Record<string, unknown>>;
  readonly steps: number;
  readonly seed: number;
  /** Image to image: the share of the steps that is made. */
  readonly strength?: number;
  /** The share of the noise at which the run is handed over. */
  readonly end?: number;
  readonly eta?: number;
  readonly x: readonly number[];
}

const network: Network = (x, time) =>
  tf.tidy(() => {
    const t = time.dataSync()[0]!;
    const bent = tf.mul(tf.tanh(tf.mul(x, 0.7)), 0.9 - t / 4000);
    return tf.add(bent, tf.mul(tf.sin(tf.add(tf.mul(x, 2), t / 300)), 0.2));
  });

/** The picture sin(1.7 i) of `[1, 2, 3, 2]`, turned to NHWC. */
function picture(): tf.Tensor4D {
  const values = Float32Array.from({ length: 12 }, (_, i) => Math.sin(1.7 * i));
  return tf.tidy(() => tf.transpose(tf.tensor4d(values, [1, 2, 3, 2]), [0, 2, 3, 1]));
}

/** Settings that are of the case and not of the chain, for its name. */
function nameOf({ config, steps, strength, end, eta }: Case): string {
  const { _class_name, beta_start, beta_end, trained_betas, ...rest } = config;
  const asked = JSON.stringify({ ...rest, strength, end, eta });
  return `${String(_class_name).replace('Scheduler', '')}, ${steps} steps ${asked}`;
}

async function run({ config, steps, seed, strength, end, eta }: Case): Promise<Float32Array> {
  const sampler = samplerFromDiffusers(config, eta === undefined ? {} : { eta });
  const { solver } = sampler;
  const table = sampler.schedule({ steps });
  const noise = torchNoise(seed);
  const from = strength === undefined ? 0 : steps - Math.floor(steps * strength);
  const image = picture();
  const x =
    strength === undefined
      ? initialNoise(table, [1, 3, 2, 2], noise, { initNoiseSigma: sampler.initNoiseSigma(table) })
      : noised(image, startLevel(solver, table, from), noise);
  let to = stepsOf(solver, table);
  if (end !== undefined) while (startLevel(solver, table, to - 1).time! < 1000 * end) to--;
  const made: Step['index'][] = [];
  const model = sampler.model(network);
  const onStep = ({ index, count }: Step) => {
    expect(count).toBe(to - from);
    made.push(index);
  };
  const last = await sample(solver, model, x, table, undefined, { noise, steps: { from, to }, onStep });
  expect(made).toEqual(Array.from({ length: to - from }, (_, i) => i));
  const values = last.dataSync<'float32'>().slice();
  tf.dispose([image, x, last]);
  return values;
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

// A file says these settings, and its author sees these numbers. Both sides are float32: up to 20 steps agree to below 1e-4 of
// the largest number, which is what the project promises of whole pipelines.
describe('where diffusers’ schedulers end, by scheduler_config.json', () => {
  const cases = golden.cases as unknown as readonly Case[];
  test.each(cases.map((item) => [nameOf(item), item] as const))('%s', async (_, item) => {
    const before = tf.memory().numTensors;
    const x = await run(item);
    expect(tf.memory().numTensors).toBe(before);
    const scale = Math.max(...item.x.map(Math.abs));
    expect(x.length).toBe(item.x.length);
    item.x.forEach((wanted, i) => {
      expect(Math.abs(x[i]! - wanted), `number ${i}: ${x[i]} for ${wanted}`).toBeLessThanOrEqual(1e-4 * scale);
    });
  });
});
