import { type DenoisingNetwork, InvalidArgumentError } from '@mezzotint/core';
import { toBytes } from '@mezzotint/data';
import { classifierFreeBatched } from '@mezzotint/guidance';
import type { DiffusionConfig, Process } from '@mezzotint/pipelines';
import {
  checkPair,
  initialNoise,
  type Network,
  perImageNoise,
  run,
  type Sampler,
  type SolverName,
  samplerFromProcess,
} from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';

/** What to sample, and how. */
export interface SamplingPlan {
  readonly solver: SolverName;
  readonly steps: number;
  /** Guidance scale; 1 is none. */
  readonly guidance: number;
  /** Image i has the seed `seed + i`, so it does not depend on how many are made with it. */
  readonly seed: number;
  /** Class of each image; empty for an unconditional model, then `count` says how many. */
  readonly labels: readonly number[];
  readonly count: number;
  readonly batchSize: number;
}

/** What a run tells while it works. */
export interface SamplingHooks {
  readonly signal?: AbortSignal;
  /** Network steps done and in all. */
  readonly onStep?: (done: number, total: number) => void;
}

/** Images as bytes NHWC and how long they took. */
export interface SampledImages {
  readonly images: Uint8Array;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
  /** Seconds until the first batch was done, and in all. */
  readonly firstSeconds: number;
  readonly seconds: number;
}

/** The sampler that a model's configuration describes, with a solver. Estimates are clipped: the data are pixels in [-1, 1]. */
export function samplerOf(process: Process, solver: SolverName): Sampler {
  return samplerFromProcess(process, { solver, limit: { kind: 'clip', range: 1 } });
}

/** Samples images in batches; deterministic in the plan, whatever the batch size, on the same engine. */
export async function sampleImages(
  { model, config }: { readonly model: DenoisingNetwork; readonly config: DiffusionConfig },
  plan: SamplingPlan,
  { signal, onStep }: SamplingHooks = {},
): Promise<SampledImages> {
  checkPlan(config, plan);
  const { size, channels } = config.image;
  const started = performance.now();
  const images = new Uint8Array(plan.count * size * size * channels);
  const sampler = samplerOf(config.process, plan.solver);
  const table = sampler.schedule({ steps: plan.steps });
  const batches = Math.ceil(plan.count / plan.batchSize);
  let firstSeconds = 0;
  for (let batch = 0; batch < batches; batch++) {
    const first = batch * plan.batchSize;
    const count = Math.min(plan.batchSize, plan.count - first);
    const noise = perImageNoise(Array.from({ length: count }, (_, i) => plan.seed + first + i));
    const cond = labelTensors(config, plan.labels.slice(first, first + count), count);
    const start = initialNoise(table, [count, size, size, channels], noise);
    try {
      const guided = guidedModel(model, sampler, plan.guidance, cond.free);
      let done = 0;
      for await (const step of run(
        sampler.solver,
        guided,
        start,
        table,
        cond.labels,
        signal ? { noise, signal } : { noise },
      )) {
        done = step.index + 1;
        onStep?.(batch * plan.steps + done, batches * plan.steps);
        if (step.last) {
          images.set(toBytes((await step.x.data()) as Float32Array), first * size * size * channels);
        }
      }
    } finally {
      tf.dispose([start, cond.labels, cond.free].filter((t) => t !== null));
    }
    if (batch === 0) firstSeconds = (performance.now() - started) / 1000;
  }
  return {
    images,
    count: plan.count,
    height: size,
    width: size,
    channels,
    firstSeconds,
    seconds: (performance.now() - started) / 1000,
  };
}

/** Labels of a batch; null for an unconditional model. */
type Labels = tf.Tensor1D | null;

function labelTensors(
  config: DiffusionConfig,
  labels: readonly number[],
  count: number,
): { labels: Labels; free: Labels } {
  if (config.classes.length === 0) return { labels: null, free: null };
  return {
    labels: tf.tensor1d(Int32Array.from(labels), 'int32'),
    free: tf.tensor1d(new Int32Array(count).fill(config.classes.length), 'int32'),
  };
}

/** The guided model that the sampler's solver takes. */
function guidedModel(model: DenoisingNetwork, sampler: Sampler, scale: number, free: Labels) {
  const net: Network<Labels> = (x, time, labels) => model.forward(x, time, labels === null ? {} : { labels });
  const join = (a: Labels, b: Labels): Labels => tf.concat([a!, b!]);
  return sampler.model<Labels>(net, (plain) =>
    free === null ? plain : classifierFreeBatched<Labels>(plain, { scale, unconditional: free, join }),
  );
}

/**
 * Checks what a model's configuration advises for sampling.
 *
 * @throws InvalidArgumentError when the solver is unknown or does not fit the process
 */
export function checkSampling({ process, sampling }: DiffusionConfig): void {
  const { solver, steps } = sampling;
  const made = samplerOf(process, solver as SolverName);
  checkPair(made.solver, made.schedule({ steps }), perImageNoise([0]));
}

function checkPlan(config: DiffusionConfig, { labels, count, solver, steps, guidance }: SamplingPlan): void {
  checkSampling({ ...config, sampling: { solver, steps, guidance } });
  const problems: string[] = [];
  const wrong = labels.filter((label) => !(Number.isInteger(label) && label >= 0 && label < config.classes.length));
  if (config.classes.length === 0) {
    if (labels.length > 0) problems.push('this model is unconditional: leave the labels out');
    if (guidance !== 1)
      problems.push('this model is unconditional: classifier-free guidance has nothing to guide (scale must be 1)');
  } else if (labels.length !== count) {
    problems.push(`expected ${count} labels, got ${labels.length}`);
  }
  if (config.network.nullLabel === false && config.classes.length > 0 && guidance !== 1) {
    problems.push('this model has no null label, which classifier-free guidance needs: the scale must be 1');
  }
  if (config.classes.length > 0 && wrong.length > 0) {
    problems.push(`labels must be from 0 to ${config.classes.length - 1}, got ${wrong.join(', ')}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('sampling', problems);
}
