import { type Denoiser, InvalidArgumentError, type VarianceDenoiser } from '@mezzotint/core';
import { toBytes } from '@mezzotint/data';
import { classifierFreeBatched, guideVariance } from '@mezzotint/guidance';
import {
  checkPair,
  clamped,
  clampedWithVariance,
  convertSchedule,
  cosineBetas,
  type DiscreteProcess,
  denoiser,
  discreteProcess,
  discreteTime,
  edm,
  edmTime,
  epsilon,
  initialNoise,
  karrasSigmas,
  linearBetas,
  type Network,
  type NoiseSchedule,
  noiseRatioAt,
  type Parameterisation,
  perImageNoise,
  ratioSchedule,
  run,
  type ScheduleKind,
  type Solver,
  type SolverName,
  scaledLinearBetas,
  sigmaSchedule,
  solvers,
  type TimeOf,
  timestepSchedule,
  trailingTimesteps,
  varianceDenoiser,
  vPrediction,
  withoutVariance,
  x0,
} from '@mezzotint/schedulers';
import type { ADMUNet } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import type { DiffusionConfig, Process } from './model-config.js';

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

const betas = {
  linear: (count: number) => linearBetas({ count }),
  'scaled-linear': (count: number) => scaledLinearBetas({ count }),
  cosine: cosineBetas,
} as const;
const predictions: Readonly<Record<'eps' | 'x0' | 'v', Parameterisation>> = { eps: epsilon, x0, v: vPrediction };

/** The chain of a discrete process. */
export function chainOf(process: Extract<Process, { kind: 'discrete' }>): DiscreteProcess {
  return discreteProcess(betas[process.betas](process.steps));
}

/**
 * Solvers that step in sigma / alpha itself, or in the eps form: where nearly nothing of the image is left, one of their
 * steps would be thousands long and its error with it. They get Karras sigmas from at most 80 (Karras et al. 2022).
 */
const stepsInSigma: readonly SolverName[] = [
  ...(['heun', 'edm-stochastic', 'dpm2', 'dpm2-ancestral', 'plms', 'pc-ve'] as const),
  ...(['dpm-solver-2s', 'dpm-solver-3s', 'dpm-solver-2m-sde', 'dpm-fast', 'dpm-adaptive'] as const),
];
const mostNoise = 80;

/**
 * Noise levels of a run with this many steps: trailing times of the chain, or Karras sigmas for EDM and for solvers that
 * step in sigma; in the variance-exploding form for solvers that know only that one.
 */
export function tableOf(process: Process, steps: number, name: SolverName): NoiseSchedule {
  const kinds: readonly ScheduleKind[] = solvers[name].kinds;
  if (process.kind === 'edm') {
    const table = sigmaSchedule(karrasSigmas({ steps, min: process.sigmaMin, max: process.sigmaMax }), edmTime);
    return kinds.includes('ve') ? table : convertSchedule(table, 'vp');
  }
  const chain = chainOf(process);
  const kind = kinds.includes('vp') ? 'vp' : 've';
  if (!stepsInSigma.includes(name)) {
    const table = timestepSchedule(chain, trailingTimesteps(process.steps, steps));
    return kind === 'vp' ? table : convertSchedule(table, kind); // As trained where it can be: no rounding on the way.
  }
  const [min, max] = [noiseRatioAt(chain, 0), Math.min(noiseRatioAt(chain, process.steps - 1), mostNoise)];
  return ratioSchedule(kind, karrasSigmas({ steps, min, max }), discreteTime(chain));
}

/** Samples images in batches; deterministic in the plan, whatever the batch size, on the same engine. */
export async function sampleImages(
  { model, config }: { readonly model: ADMUNet; readonly config: DiffusionConfig },
  plan: SamplingPlan,
  { signal, onStep }: SamplingHooks = {},
): Promise<SampledImages> {
  checkPlan(config, plan);
  const { size, channels } = config.image;
  const started = performance.now();
  const images = new Uint8Array(plan.count * size * size * channels);
  const solver = solvers[plan.solver].create() as Solver;
  const table = tableOf(config.process, plan.steps, plan.solver);
  const batches = Math.ceil(plan.count / plan.batchSize);
  let firstSeconds = 0;
  for (let batch = 0; batch < batches; batch++) {
    const first = batch * plan.batchSize;
    const count = Math.min(plan.batchSize, plan.count - first);
    const noise = perImageNoise(Array.from({ length: count }, (_, i) => plan.seed + first + i));
    const cond = labelTensors(config, plan.labels.slice(first, first + count), count);
    const start = initialNoise(table, [count, size, size, channels], noise);
    try {
      const guided = guidedModel(model, config, plan.guidance, cond.free);
      const denoise = solver.needs === 'variance' ? guided.withVariance : guided.plain;
      let done = 0;
      for await (const step of run(
        solver,
        denoise as Denoiser<Labels>,
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

/** The network as a guided Denoiser whose estimates stay in [-1, 1]. */
function guidedModel(
  model: ADMUNet,
  { process }: DiffusionConfig,
  scale: number,
  free: Labels,
): { plain: Denoiser<Labels>; withVariance?: VarianceDenoiser<Labels> } {
  const net: Network<Labels> = (x, time, labels) => model.forward(x, time, labels === null ? {} : { labels });
  const join = (a: Labels, b: Labels): Labels => tf.concat([a!, b!]);
  const guide = (d: Denoiser<Labels>): Denoiser<Labels> =>
    free === null ? d : classifierFreeBatched<Labels>(d, { scale, unconditional: free, join });
  if (process.kind === 'edm') {
    return { plain: clamped(guide(denoiser(net, edm(process), { clock: edmTime }))) };
  }
  const clock: TimeOf = discreteTime(chainOf(process));
  const prediction = predictions[process.prediction];
  if (!process.learnedVariance) {
    return { plain: clamped(guide(denoiser(net, prediction, { clock }))) };
  }
  const learned = varianceDenoiser(net, prediction, { clock });
  return {
    plain: clamped(guide(withoutVariance(learned))),
    withVariance: clampedWithVariance(guideVariance(learned, guide)),
  };
}

/**
 * Checks what a model's configuration advises for sampling.
 *
 * @throws InvalidArgumentError when the solver is unknown or does not fit the process
 */
export function checkSampling({ process, sampling }: DiffusionConfig): void {
  const { solver, steps } = sampling;
  if (!(solver in solvers)) {
    throw new InvalidArgumentError('sampling', `unknown solver '${solver}', known: ${Object.keys(solvers).join(', ')}`);
  }
  const made = solvers[solver as SolverName].create() as Solver;
  checkPair(made, tableOf(process, steps, solver as SolverName), perImageNoise([0]));
  if (made.needs === 'variance' && !(process.kind === 'discrete' && process.learnedVariance)) {
    throw new InvalidArgumentError(solver, 'needs a model that learned the variance: choose another solver');
  }
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
  if (config.classes.length > 0 && wrong.length > 0) {
    problems.push(`labels must be from 0 to ${config.classes.length - 1}, got ${wrong.join(', ')}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('sampling', problems);
}
