import {
  InvalidArgumentError,
  MezzotintError,
  type Module,
  type Param,
  type RandomStream,
  stepBoundary,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Average } from '../averages/average.js';
import type { LearningRate } from '../learning-rate.js';
import type { Optimizer } from '../optimizer/optimizer.js';
import type { ResumableIterator } from './resumable-iterator.js';
import { valueAndGradients } from './value-and-gradients.js';

/** What a training is made of. Nothing here is disposed by `train`. */
export interface TrainOptions<B> {
  readonly model: Module;
  /** The mean loss of a batch, by the forward pass of `model`; all its randomness comes from `rng`. */
  readonly loss: (batch: B, rng: RandomStream) => tf.Scalar;
  readonly data: Pick<ResumableIterator<B>, 'next'>;
  readonly rng: RandomStream;
  readonly optimizer: Optimizer;
  readonly learningRate: LearningRate;
  /** Averages that follow the weights after every update. */
  readonly averages?: readonly Average[];
  /** Batches whose mean gradient makes one update; 1 when absent. */
  readonly accumulation?: number;
  /** Clips by global norm; no clipping when absent. */
  readonly maxGradientNorm?: number;
  /** Called after each update and before the averages (forced weight normalisation, projections). */
  readonly afterUpdate?: () => void;
  /** Updates done before; 0 when absent. */
  readonly from?: number;
  /** The update to stop after. */
  readonly until: number;
  /** Ends the training after the update that is under way. */
  readonly signal?: AbortSignal;
}

/** One update, when it is done. */
export interface TrainStep {
  /** Updates done, this one included. */
  readonly step: number;
  /** Mean over the micro-batches, before the update. */
  readonly loss: number;
  readonly learningRate: number;
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: number;
  /** Wall time of the update, data included. */
  readonly seconds: number;
}

/**
 * Trains, one update an iteration. While the caller holds a step (in the loop's body) nothing moves: sample, evaluate
 * or save a checkpoint there. Stop by leaving the loop or by `signal`; both leave model, optimizer, averages, stream
 * and data at the same update, ready to save.
 *
 * @throws InvalidArgumentError when a number is out of range
 * @throws MezzotintError `MEZZOTINT_NOT_FINITE` when the loss or the gradient is not finite; nothing of that update is applied
 */
export async function* train<B>(options: TrainOptions<B>): AsyncGenerator<TrainStep, void, undefined> {
  check(options);
  const { model, optimizer, averages = [], accumulation = 1, maxGradientNorm, from = 0, until, signal } = options;
  const params = new Map([...model.params()].filter(([, param]) => param.trainable));
  for (let step = from + 1; step <= until && !isAborted(signal); step++) {
    const start = performance.now();
    const learningRate = options.learningRate(step);
    const { loss, gradients } = await accumulated(params, options, accumulation, step);
    let gradientNorm: number;
    try {
      gradientNorm = await optimizer.step(gradients, {
        learningRate,
        gradientScale: 1 / accumulation,
        ...(maxGradientNorm === undefined ? {} : { maxGradientNorm }),
      });
    } finally {
      tf.dispose([...gradients.values()]);
    }
    options.afterUpdate?.();
    for (const average of averages) average.update();
    stepBoundary();
    await breath();
    yield { step, loss, learningRate, gradientNorm, seconds: (performance.now() - start) / 1000 };
  }
}

/** The summed gradients and the mean loss of the micro-batches of one update. */
async function accumulated<B>(
  params: ReadonlyMap<string, Param>,
  { loss, data, rng }: TrainOptions<B>,
  accumulation: number,
  step: number,
): Promise<{ loss: number; gradients: Map<string, tf.Tensor> }> {
  const sum = new Map<string, tf.Tensor>();
  let total = 0;
  try {
    for (let k = 0; k < accumulation; k++) {
      const batch = await data.next();
      const { value, gradients } = valueAndGradients(params, () => loss(batch, rng));
      for (const [path, gradient] of gradients) add(sum, path, gradient);
      stepBoundary();
      total += (await value.data())[0]!;
      value.dispose();
      if (!Number.isFinite(total)) throw notFinite(step, total);
    }
  } catch (error) {
    tf.dispose([...sum.values()]);
    throw error;
  }
  return { loss: total / accumulation, gradients: sum };
}

/** Takes over `gradient`. */
function add(sum: Map<string, tf.Tensor>, path: string, gradient: tf.Tensor): void {
  const before = sum.get(path);
  if (before === undefined) {
    sum.set(path, gradient);
    return;
  }
  sum.set(path, tf.add(before, gradient));
  tf.dispose([before, gradient]);
}

function notFinite(step: number, loss: number): MezzotintError {
  return new MezzotintError(
    'MEZZOTINT_NOT_FINITE',
    `Update ${step}: the loss is ${loss}; nothing was changed. Lower the learning rate, clip the gradients, or go on from an earlier checkpoint.`,
    { step, loss },
  );
}

function check<B>({ accumulation = 1, from = 0, until, maxGradientNorm }: TrainOptions<B>): void {
  const problems: string[] = [];
  if (!Number.isSafeInteger(accumulation) || accumulation < 1) {
    problems.push(`accumulation must be an integer of at least 1, got ${accumulation}`);
  }
  if (!Number.isSafeInteger(from) || from < 0) problems.push(`from must be an integer of at least 0, got ${from}`);
  if (!Number.isSafeInteger(until) || until < 0) problems.push(`until must be an integer of at least 0, got ${until}`);
  if (maxGradientNorm !== undefined && !(maxGradientNorm > 0)) {
    problems.push(`maxGradientNorm must be above 0, got ${maxGradientNorm}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('train', problems);
}

/** A function, because a signal changes between two looks at it. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Lets the event loop turn, so that timers, signals and the screen are served between updates. */
function breath(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
