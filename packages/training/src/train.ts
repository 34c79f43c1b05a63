import {
  InvalidArgumentError,
  MezzotintError,
  type Param,
  type RandomStream,
  stepBoundary,
  TorchGenerator,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Average } from './averages/average.js';
import { tensorsAreInHostMemory } from './engine.js';
import type { LearningRate } from './learning-rate.js';
import type { Optimizer } from './optimizer/optimizer.js';
import { plainCopy } from './plain-params.js';
import { type LossValue, type Observe, valueAndGradients } from './value-and-gradients.js';

/** What a loss is computed from. */
export interface LossInput<B> {
  readonly batch: B;
  /** The source of all its randomness. */
  readonly rng: RandomStream;
  /** The update that it is for; the first is 1. */
  readonly step: number;
  /** Notes a part of the loss for the log. */
  readonly observe: Observe;
}

/** A loss: one number an example `[N]` or one for the batch. Synchronous, in one tidy. */
export type Loss<B> = (input: LossInput<B>) => LossValue;

/**
 * Endless training data that says where it stands. `next` gives host data (typed arrays; the loss makes the tensors), and
 * `state`, as JSON, is the position after the last `next` that resolved: an iterator made from it goes on with the batch
 * that would have come.
 */
export interface ResumableIterator<T> {
  next(): Promise<T>;
  state(): unknown;
}

/** A network that is trained beside the model, with its own optimizer. */
export interface AuxiliaryNetwork<B> {
  readonly optimizer: Optimizer;
  /**
   * Its own loss on the batches that the model saw, after the model's update (a discriminator). Absent, it learns from the
   * gradient of the model's loss (an encoder trained jointly).
   */
  readonly loss?: Loss<B>;
  /** The model's when absent. */
  readonly learningRate?: LearningRate;
  /** No clipping when absent. */
  readonly maxGradientNorm?: number;
  /** Updates of the model before its first; 0 when absent. */
  readonly start?: number;
}

/** Where a hook is called. */
export interface HookInput {
  /** The update under way; the first is 1. */
  readonly step: number;
  readonly learningRate: number;
  readonly rng: RandomStream;
}

/** Places in an update where a recipe may act. Each is called once an update, in this order. */
export interface TrainHooks {
  /** Before the first forward pass (forced weight normalisation, EDM2 section 2.3). */
  beforeForward?(at: HookInput): void | Promise<void>;
  /** When the gradients are summed, before the optimizer takes them; they may be replaced in the map. */
  beforeUpdate?(at: HookInput & { readonly gradients: Map<string, tf.Tensor> }): void | Promise<void>;
  /** After the optimizer changed the weights, before the averages see them (projections, codebooks). */
  afterUpdate?(at: HookInput): void | Promise<void>;
  /** After the averages and the auxiliary networks. */
  afterAverages?(at: HookInput): void | Promise<void>;
}

/** What one process, or all together, contribute to an update of one network. */
export interface Contribution {
  /** Whose loss it is: `model`, or the name of an auxiliary network that has its own. */
  readonly network: string;
  /** Sums over the micro-batches, in the order of a binary tree over their indices: (0 + 1) + (2 + 3), and so on. */
  readonly gradients: Map<string, tf.Tensor>;
  /** The loss of each micro-batch, in their order; may be NaN. */
  readonly losses: readonly number[];
  /** What each of them observed, by name. */
  readonly observed: readonly Readonly<Record<string, number>>[];
}

/** What a training is made of. Nothing here is disposed by `train`. */
export interface TrainOptions<B> {
  readonly loss: Loss<B>;
  readonly data: Pick<ResumableIterator<B>, 'next'>;
  readonly rng: RandomStream;
  /** Of the model; its parameters are what the loss is differentiated by. */
  readonly optimizer: Optimizer;
  readonly learningRate: LearningRate;
  /** Averages that follow the weights after every update, by name. */
  readonly averages?: Readonly<Record<string, Average>>;
  /** Updates between snapshots of the averages: `TrainStep.snapshot` says when one is due; never when absent. */
  readonly snapshotEvery?: number;
  /** Networks beside the model, by name. */
  readonly auxiliary?: Readonly<Record<string, AuxiliaryNetwork<B>>>;
  readonly hooks?: readonly TrainHooks[];
  /**
   * Batches that this process takes for one update, which follows their mean gradient; 1 when absent. Each of several has a
   * stream of its own, seeded from `rng`, so that none depends on what another draws.
   */
  readonly accumulation?: number;
  /**
   * Which of the `of` micro-batches of an update this process computes, when others compute the rest and `exchange` adds them
   * up: `accumulation` of them, from `first` on, counted from 0. All when absent. The update is the same to the bit however 2^k
   * times as many micro-batches are spread over processes.
   */
  readonly share?: { readonly first: number; readonly of: number };
  /** Clips by global norm; no clipping when absent. */
  readonly maxGradientNorm?: number;
  /**
   * Adds up what several processes computed. Called once an update and network, also when the loss of this process is
   * not finite, so that all processes meet; takes over the gradients and gives others (or the same).
   */
  readonly exchange?: (mine: Contribution) => Promise<Contribution>;
  /** Updates done before; 0 when absent. */
  readonly from?: number;
  /** The update to stop after. */
  readonly until: number;
  /** Ends the training after the update that is under way. */
  readonly signal?: AbortSignal;
}

/** What an update of one network came to. */
export interface NetworkUpdate {
  /** Mean over the micro-batches, before the update. */
  readonly loss: number;
  /** Means of what the loss observed, by name. */
  readonly observed: Readonly<Record<string, number>>;
  readonly learningRate: number;
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: number;
}

/** One update, when it is done. */
export interface TrainStep extends NetworkUpdate {
  /** Updates done, this one included. */
  readonly step: number;
  /** Wall time of the update, data included. */
  readonly seconds: number;
  /** Wall time that was spent waiting for data. */
  readonly waited: number;
  /** Whether a snapshot of the averages is due. */
  readonly snapshot: boolean;
  /** Updates of the auxiliary networks that have their own loss, by name. */
  readonly auxiliary: Readonly<Record<string, NetworkUpdate>>;
}

/**
 * Trains, one update an iteration: forward and backward over the micro-batches, exchange between processes, the model's
 * update, its averages, then the auxiliary networks. While the caller holds a step (in the loop's body) nothing moves:
 * sample, evaluate or save a checkpoint there. Stop by leaving the loop or by `signal`; both leave model, optimizer,
 * averages, stream and data at the same update, ready to save.
 *
 * @throws InvalidArgumentError when a number is out of range
 * @throws MezzotintError `MEZZOTINT_NOT_FINITE` when the loss or the gradient is not finite; nothing of that update is applied
 */
export async function* train<B>(options: TrainOptions<B>): AsyncGenerator<TrainStep, void, undefined> {
  check(options);
  const { data, rng, averages = {}, auxiliary = {}, hooks = [], accumulation = 1, snapshotEvery } = options;
  const { from = 0, until, signal } = options;
  for (let step = from + 1; step <= until && !isAborted(signal); step++) {
    const start = performance.now();
    const learningRate = options.learningRate(step);
    const at: HookInput = { step, learningRate, rng };
    const { joint, adversarial } = targets(options, step);
    for (const hook of hooks) await hook.beforeForward?.(at);

    const batches: B[] = [];
    for (let k = 0; k < accumulation; k++) batches.push(await data.next());
    const waited = performance.now() - start;

    const { first, of } = options.share ?? { first: 0, of: accumulation };
    const streams = of === 1 ? [rng] : streamsOf(rng, of);
    const inputs = batches.map((batch, k) => ({ batch, rng: streams[first + k]!, step }));
    const model = await update(joint, options.loss, inputs, options.exchange, async (gradients) => {
      for (const hook of hooks) await hook.beforeUpdate?.({ ...at, gradients });
    });
    for (const hook of hooks) await hook.afterUpdate?.(at);
    for (const average of Object.values(averages)) average.update();
    const others: Record<string, NetworkUpdate> = {};
    for (const target of adversarial) {
      others[target.name] = await update([target], auxiliary[target.name]!.loss!, inputs, options.exchange);
    }
    for (const hook of hooks) await hook.afterAverages?.(at);
    stepBoundary();
    await turnOfEventLoop();
    yield {
      ...{ step, ...model, auxiliary: others },
      snapshot: snapshotEvery !== undefined && step % snapshotEvery === 0,
      waited: waited / 1000,
      seconds: (performance.now() - start) / 1000,
    };
  }
}

/** Independent streams for the micro-batches of an update; every process draws the same from its own copy of `rng`. */
function streamsOf(rng: RandomStream, count: number): RandomStream[] {
  const draws = rng.rand(2 * count); // 16 bits of each make a seed
  const bits = (i: number) => Math.floor(draws[i]! * 2 ** 16);
  return Array.from({ length: count }, (_, k) => new TorchGenerator(bits(2 * k) * 2 ** 16 + bits(2 * k + 1)));
}

/** A network that an update moves. Its gradients have its prefix before their keys. */
interface Target {
  readonly name: string;
  readonly prefix: string;
  readonly optimizer: Optimizer;
  readonly learningRate: number;
  readonly maxGradientNorm?: number | undefined;
}

/** The networks that the model's loss moves at a step, the model first, and those that have their own loss. */
function targets<B>(
  { optimizer, learningRate, maxGradientNorm, auxiliary = {} }: TrainOptions<B>,
  step: number,
): { joint: Target[]; adversarial: Target[] } {
  const others = Object.entries(auxiliary)
    .filter(([, { start = 0 }]) => step > start)
    .map(([name, network]) => ({
      ...{ name, optimizer: network.optimizer, maxGradientNorm: network.maxGradientNorm },
      prefix: network.loss === undefined ? `${name}/` : '',
      learningRate: (network.learningRate ?? learningRate)(step),
    }));
  const model = { name: 'model', prefix: '', optimizer, learningRate: learningRate(step), maxGradientNorm };
  return {
    joint: [model, ...others.filter(({ name }) => auxiliary[name]!.loss === undefined)],
    adversarial: others.filter(({ name }) => auxiliary[name]!.loss !== undefined),
  };
}

/** One update of networks by one loss; the numbers are those of the first. */
async function update<B>(
  targets: readonly Target[],
  loss: Loss<B>,
  inputs: readonly Omit<LossInput<B>, 'observe'>[],
  exchange: TrainOptions<B>['exchange'],
  beforeUpdate?: (gradients: Map<string, tf.Tensor>) => Promise<void>,
): Promise<NetworkUpdate> {
  const params = new Map<string, Param>();
  for (const { prefix, optimizer } of targets) {
    for (const [path, param] of optimizer.params) params.set(prefix + path, param);
  }
  const mine = { network: targets[0]!.name, ...(await accumulated(params, loss, inputs)) };
  const { gradients, losses, observed } = await (exchange ?? readBack)(mine);
  const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
  try {
    if (!Number.isFinite(mean)) throw notFinite(inputs[0]!.step, mean);
    await beforeUpdate?.(gradients);
    const parts = targets.map((target) => gradientsOf(target, gradients));
    // One optimizer refuses what is not finite by itself; of several, none may move when another refuses.
    if (targets.length > 1) for (const part of parts) await checkFinite(part, inputs[0]!.step);
    const norms: number[] = [];
    for (const [i, { optimizer, learningRate, maxGradientNorm }] of targets.entries()) {
      const clipping = maxGradientNorm === undefined ? {} : { maxGradientNorm };
      const rate = { learningRate, gradientScale: 1 / losses.length };
      norms.push(await optimizer.step(parts[i]!, { ...rate, ...clipping }));
    }
    return { loss: mean, observed: meansOf(observed), learningRate: targets[0]!.learningRate, gradientNorm: norms[0]! };
  } finally {
    tf.dispose([...gradients.values()]);
  }
}

/** The gradients of one network by its own keys. */
function gradientsOf({ prefix, optimizer }: Target, all: ReadonlyMap<string, tf.Tensor>): Map<string, tf.Tensor> {
  const own = new Map<string, tf.Tensor>();
  for (const path of optimizer.params.keys()) {
    const gradient = all.get(prefix + path);
    if (gradient !== undefined) own.set(path, gradient);
  }
  return own;
}

/** The means of what micro-batches observed, by name. */
function meansOf(observed: Contribution['observed']): Record<string, number> {
  const means: Record<string, number> = {};
  for (const [name, value] of observed.flatMap(Object.entries<number>)) {
    means[name] = (means[name] ?? 0) + value / observed.length;
  }
  return means;
}

/** The summed gradients of the micro-batches of one update, and their losses and terms. */
async function accumulated<B>(
  params: ReadonlyMap<string, Param>,
  loss: Loss<B>,
  inputs: readonly Omit<LossInput<B>, 'observe'>[],
): Promise<Omit<Contribution, 'network'>> {
  /** Subtrees of the sum that wait for a neighbour of their size. */
  const waiting: { size: number; readonly gradients: Map<string, tf.Tensor> }[] = [];
  const join = () => {
    const last = waiting.pop()!;
    add(waiting.at(-1)!.gradients, last.gradients);
    waiting.at(-1)!.size += last.size;
  };
  const losses: number[] = [];
  const observed: Record<string, number>[] = [];
  try {
    for (const input of inputs) {
      const { value, gradients, observed: seen } = valueAndGradients(params, (observe) => loss({ ...input, observe }));
      waiting.push({ size: 1, gradients });
      stepBoundary(); // Before the sum: a lazy engine would round otherwise when it computes both at once.
      losses.push((await value.data())[0]!);
      value.dispose();
      const means: Record<string, number> = {};
      for (const [name, scalars] of seen) {
        for (const scalar of scalars) means[name] = (means[name] ?? 0) + (await scalar.data())[0]! / scalars.length;
        tf.dispose([...scalars]);
      }
      observed.push(means);
      while (waiting.at(-2)?.size === waiting.at(-1)!.size) join();
    }
    while (waiting.length > 1) join();
  } catch (error) {
    for (const { gradients } of waiting) tf.dispose([...gradients.values()]);
    throw error;
  }
  return { losses, observed, gradients: waiting[0]!.gradients };
}

/**
 * The sums of several micro-batches as plain arrays, as they come from other processes: a lazy engine may hold them in a layout of its
 * own, in which their norm is rounded otherwise. One copy; left out where it would have to cross to a GPU.
 */
async function readBack(mine: Contribution): Promise<Contribution> {
  const onHost = tf.getBackend() === 'onnxruntime' || tensorsAreInHostMemory();
  if (mine.losses.length === 1 || !onHost) return mine;
  const gradients = new Map<string, tf.Tensor>();
  for (const [path, gradient] of mine.gradients) {
    gradients.set(path, await plainCopy(gradient));
  }
  tf.dispose([...mine.gradients.values()]);
  return { ...mine, gradients };
}

/** Adds `gradients`, which it takes over, to `sum`. */
function add(sum: Map<string, tf.Tensor>, gradients: ReadonlyMap<string, tf.Tensor>): void {
  for (const [path, gradient] of gradients) {
    const before = sum.get(path);
    sum.set(path, before === undefined ? gradient : tf.add(before, gradient));
    if (before !== undefined) tf.dispose([before, gradient]);
  }
}

async function checkFinite(gradients: ReadonlyMap<string, tf.Tensor>, step: number): Promise<void> {
  if (gradients.size === 0) return;
  const squares = tf.tidy(() => tf.addN([...gradients.values()].map((gradient) => tf.sum(tf.square(gradient)))));
  const [value] = await squares.data();
  squares.dispose();
  if (!Number.isFinite(value)) throw notFinite(step, value!, 'gradient norm');
}

function notFinite(step: number, value: number, what = 'loss'): MezzotintError {
  return new MezzotintError(
    'MEZZOTINT_NOT_FINITE',
    `Update ${step}: the ${what} is ${value}; nothing was changed. Lower the learning rate, clip the gradients, or go on from an earlier checkpoint.`,
    { step, loss: value },
  );
}

function check<B>({ accumulation = 1, from = 0, until, snapshotEvery = 1, ...others }: TrainOptions<B>): void {
  const problems: string[] = [];
  const whole = (name: string, value: number, least: number) => {
    if (!Number.isSafeInteger(value) || value < least) {
      problems.push(`${name} must be an integer of at least ${least}, got ${value}`);
    }
  };
  whole('accumulation', accumulation, 1);
  whole('from', from, 0);
  whole('until', until, 0);
  whole('snapshotEvery', snapshotEvery, 1);
  const { first, of } = others.share ?? { first: 0, of: accumulation };
  whole('share.first', first, 0);
  if (!(first + accumulation <= of)) {
    problems.push(`share: ${accumulation} micro-batches from ${first} on are not among ${of}`);
  }
  const norms: [string, number | undefined][] = [['maxGradientNorm', others.maxGradientNorm]];
  for (const [name, { maxGradientNorm, start = 0 }] of Object.entries(others.auxiliary ?? {})) {
    norms.push([`auxiliary.${name}.maxGradientNorm`, maxGradientNorm]);
    whole(`auxiliary.${name}.start`, start, 0);
  }
  for (const [name, norm] of norms) {
    if (norm !== undefined && !(norm > 0)) problems.push(`${name} must be above 0, got ${norm}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('train', problems);
}

/** A function, because a signal changes between two looks at it. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Lets the event loop turn, so that timers, signals and the screen are served between updates. */
function turnOfEventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
