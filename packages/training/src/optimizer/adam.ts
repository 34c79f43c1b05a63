import { type HostTensor, InvalidArgumentError, Module, type Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { tensorsAreInHostMemory } from '../engine.js';
import { trainableParams } from '../trainable-params.js';
import { adamWKernel, hasAdamWKernel } from './adamw-kernel.js';
import {
  checkFinite,
  checkMoments,
  clippingFactor,
  type Gradients,
  globalNorm,
  MEAN,
  type Optimizer,
  type OptimizerState,
  SQUARE,
  type UpdateOptions,
} from './optimizer.js';

/** Constants of the optimizers with two moments; PyTorch's defaults. */
export interface AdamOptions {
  /** Decay rates of the two moments; 0.9 and 0.999 when absent. */
  readonly betas?: readonly [number, number];
  /** 1e-8 when absent. */
  readonly epsilon?: number;
  /** 0.01 for AdamW and LAMB when absent, 0 for Adam. */
  readonly weightDecay?: number;
  /** Which parameters decay, by key and memory shape; all when absent. `noDecayOnBiasAndNorm` leaves biases and norms out. */
  readonly decays?: (path: string, shape: readonly number[]) => boolean;
  /** Where the moments are; where the engine in use is fast when absent. The state of one form loads into the other. */
  readonly place?: 'host' | 'device';
}

/**
 * Last names of parameters that do not decay whatever their shape: biases and norms (RIN's biases have an axis of heads), a
 * state-space model's decays and skips (Gu and Dao 2023), U-ViT's positions.
 */
const UNDECAYED = new Set(['bias', 'beta', 'gamma', 'A_log', 'A_b_log', 'D', 'D_b', 'pos_embed']);

/** Decays weights: what has two axes or more and no name of a bias, a norm, `A_log`, `D` or `pos_embed`. */
export function noDecayOnBiasAndNorm(path: string, shape: readonly number[]): boolean {
  return shape.length >= 2 && !UNDECAYED.has(path.slice(path.lastIndexOf('.') + 1));
}

/** What an optimizer may be made for: a model (its trainable parameters), or parameters by key. */
export type Trainable = Module | ReadonlyMap<string, Param>;

/**
 * AdamW (Loshchilov and Hutter 2019, algorithm 2) with PyTorch's numbers: the parameter is first multiplied by
 * 1 - rate * decay. By the engine's fused kernel, in one pass on the host, or by kernels on the device.
 *
 * @throws InvalidArgumentError when an option is out of range
 */
export function adamW(of: Trainable, options: AdamOptions = {}): Optimizer {
  return make(adamWRule, of, { weightDecay: 0.01, ...options });
}

/**
 * Adam (Kingma and Ba 2015, algorithm 1) with PyTorch's numbers: weight decay, when asked for, is an L2 term of the
 * gradient. Otherwise as `adamW`.
 *
 * @throws InvalidArgumentError when an option is out of range
 */
export function adam(of: Trainable, options: AdamOptions = {}): Optimizer {
  return make(adamRule, of, options);
}

/**
 * LAMB (You et al. 2020, algorithm 2) with TensorFlow Addons' numbers: u = Adam's step + decay * parameter, scaled by
 * ||parameter|| / ||u||. Parameters that `decays` leaves out are not scaled either; a `weightDecay` of 0 scales. Otherwise as `adamW`.
 *
 * @throws InvalidArgumentError when an option is out of range
 */
export function lamb(of: Trainable, options: AdamOptions = {}): Optimizer {
  return make(lambRule, of, { weightDecay: 0.01, ...options });
}

function make(rule: UpdateRule, of: Trainable, options: AdamOptions): Optimizer {
  const params = Module.isInstance(of) ? trainableParams(of) : of;
  const fused = rule === adamWRule && hasAdamWKernel();
  const { place = tensorsAreInHostMemory() && !fused ? 'host' : 'device' } = options;
  return place === 'host' ? new AdamOnHost(rule, params, options) : new AdamOnDevice(rule, params, options);
}

/** The numbers of one update of one parameter, in float64. */
interface Numbers {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly learningRate: number;
  /** 0 for parameters that do not decay. */
  readonly decay: number;
  /** Whether it is one of those that decay, be it by 0: what LAMB scales. */
  readonly decays: boolean;
  /** Factor on the gradient: micro-batches and clipping. */
  readonly gradientScale: number;
  /** 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t): the bias corrections of update t. */
  readonly meanScale: number;
  readonly rootScale: number;
}

interface HostMoments {
  readonly mean: Float32Array;
  readonly square: Float32Array;
}

interface DeviceMoments {
  readonly mean: tf.Tensor;
  readonly square: tf.Tensor;
}

/** How one parameter moves. Both forms change the moments first: mean = E[g], square = E[g^2]. */
interface UpdateRule {
  readonly name: string;
  /** Fills `after` and changes the moments in place. */
  onHost(before: Float32Array, after: Float32Array, gradient: Float32Array, moments: HostMoments, n: Numbers): void;
  /** New tensors. `scalar` gives a number as a tensor, so that a lazy engine compiles the update once. */
  onDevice(
    param: tf.Tensor,
    gradient: tf.Tensor,
    moments: DeviceMoments,
    n: Numbers,
    scalar: (value: number) => tf.Scalar,
  ): DeviceMoments & { readonly param: tf.Tensor };
}

const adamWRule: UpdateRule = {
  name: 'AdamW',
  onHost(before, after, gradient, { mean, square }, n) {
    const { beta1, beta2, epsilon, gradientScale, rootScale } = n;
    const keep = 1 - n.learningRate * n.decay;
    const stepSize = n.learningRate * n.meanScale;
    for (let i = 0; i < before.length; i++) {
      const g = gradient[i]! * gradientScale;
      const m = mean[i]! + (g - mean[i]!) * (1 - beta1);
      const v = square[i]! * beta2 + g * g * (1 - beta2);
      mean[i] = m;
      square[i] = v;
      after[i] = before[i]! * keep - (stepSize * m) / (Math.sqrt(v) * rootScale + epsilon);
    }
  },
  onDevice(param, gradient, moments, n, scalar) {
    const scalars = {
      keep: scalar(1 - n.learningRate * n.decay),
      gradientScale: scalar(n.gradientScale),
      stepSize: scalar(n.learningRate * n.meanScale),
      rootScale: scalar(n.rootScale),
    };
    const { beta1, beta2, epsilon } = n;
    return adamWKernel({ param, gradient, ...moments, ...scalars }, { beta1, beta2, epsilon });
  },
};

const adamRule: UpdateRule = {
  name: 'Adam',
  onHost(before, after, gradient, moments, n) {
    if (n.decay === 0) return adamWRule.onHost(before, after, gradient, moments, n);
    const total = gradient.map((g, i) => g * n.gradientScale + n.decay * before[i]!);
    adamWRule.onHost(before, after, total, moments, { ...n, gradientScale: 1, decay: 0 });
  },
  onDevice(param, gradient, moments, n, scalar) {
    if (n.decay === 0) return adamWRule.onDevice(param, gradient, moments, n, scalar);
    const total = tf.tidy(() => tf.add(tf.mul(gradient, scalar(n.gradientScale)), tf.mul(param, scalar(n.decay))));
    const after = adamWRule.onDevice(param, total, moments, { ...n, gradientScale: 1, decay: 0 }, scalar);
    total.dispose();
    return after;
  },
};

const lambRule: UpdateRule = {
  name: 'LAMB',
  onHost(before, after, gradient, { mean, square }, n) {
    const { beta1, beta2, epsilon, gradientScale, meanScale, rootScale, decay, decays } = n;
    let weights = 0;
    let moves = 0;
    for (let i = 0; i < before.length; i++) {
      const g = gradient[i]! * gradientScale;
      mean[i] = mean[i]! + (g - mean[i]!) * (1 - beta1);
      square[i] = square[i]! * beta2 + g * g * (1 - beta2);
      const u = (mean[i]! * meanScale) / (Math.sqrt(square[i]!) * rootScale + epsilon) + decay * before[i]!;
      after[i] = u;
      weights += before[i]! ** 2;
      moves += u * u;
    }
    const ratio = decays && weights > 0 && moves > 0 ? Math.sqrt(weights / moves) : 1;
    for (let i = 0; i < before.length; i++) after[i] = before[i]! - n.learningRate * ratio * after[i]!;
  },
  onDevice(param, gradient, moments, n, scalar) {
    return tf.tidy(() => {
      const g = tf.mul(gradient, scalar(n.gradientScale));
      const mean = tf.add(moments.mean, tf.mul(tf.sub(g, moments.mean), 1 - n.beta1));
      const square = tf.add(tf.mul(moments.square, n.beta2), tf.mul(tf.square(g), 1 - n.beta2));
      const root = tf.add(tf.mul(tf.sqrt(square), scalar(n.rootScale)), n.epsilon);
      const u = tf.add(tf.div(tf.mul(mean, scalar(n.meanScale)), root), tf.mul(param, scalar(n.decay)));
      const norm = (x: tf.Tensor) => tf.sqrt(tf.sum(tf.square(x)));
      const [weights, moves] = [norm(param), norm(u)];
      const known = tf.logicalAnd(tf.greater(weights, 0), tf.greater(moves, 0));
      const ratio = tf.where(known, tf.div(weights, tf.maximum(moves, 1e-30)), tf.onesLike(weights));
      const move = n.decays ? tf.mul(u, ratio) : u;
      return { param: tf.sub(param, tf.mul(move, scalar(n.learningRate))), mean, square };
    });
  },
};

/** The options with their defaults, checked. */
function complete(who: string, options: AdamOptions) {
  const { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0, decays = () => true } = options;
  const problems: string[] = [];
  for (const beta of [beta1, beta2]) {
    if (!(beta >= 0 && beta < 1)) problems.push(`each beta must be in [0, 1), got ${beta}`);
  }
  if (!(epsilon >= 0)) problems.push(`epsilon must be at least 0, got ${epsilon}`);
  if (!(weightDecay >= 0)) problems.push(`weightDecay must be at least 0, got ${weightDecay}`);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return { beta1, beta2, epsilon, weightDecay, decays };
}

/** What both forms share: options, the count of updates, and the numbers of an update. */
abstract class TwoMoments {
  readonly params: ReadonlyMap<string, Param>;
  protected readonly rule: UpdateRule;
  protected readonly options: ReturnType<typeof complete>;
  protected updates = 0;

  constructor(rule: UpdateRule, params: ReadonlyMap<string, Param>, options: AdamOptions) {
    this.rule = rule;
    this.params = params;
    this.options = complete(rule.name, options);
  }

  abstract squaredNorms(gradients: Gradients): Promise<Map<string, number>>;

  /** Of the scaled gradients. */
  protected async norm(gradients: Gradients, { gradientNorm, gradientScale = 1 }: UpdateOptions): Promise<number> {
    return gradientNorm ?? gradientScale * globalNorm((await this.squaredNorms(gradients)).values());
  }

  /** The numbers of the update that is counted last, for each parameter; `norm` is of the scaled gradients. */
  protected numbers(norm: number, { learningRate, gradientScale = 1, maxGradientNorm }: UpdateOptions) {
    const { beta1, beta2, epsilon, weightDecay, decays } = this.options;
    const shared = {
      ...{ beta1, beta2, epsilon, learningRate },
      gradientScale: gradientScale * clippingFactor(norm, maxGradientNorm),
      meanScale: 1 / (1 - beta1 ** this.updates),
      rootScale: 1 / Math.sqrt(1 - beta2 ** this.updates),
    };
    return (path: string, param: Param): Numbers => {
      const decaying = decays(path, param.shape);
      return { ...shared, decay: decaying ? weightDecay : 0, decays: decaying };
    };
  }
}

/** An optimizer with its moments in JavaScript memory: one pass over the typed arrays. */
class AdamOnHost extends TwoMoments implements Optimizer {
  #moments = new Map<string, HostMoments>();

  async step(gradients: Gradients, options: UpdateOptions): Promise<number> {
    const arrays = new Map<string, Float32Array>();
    for (const path of this.params.keys()) {
      const gradient = gradients.get(path);
      if (gradient !== undefined) arrays.set(path, (await gradient.data()) as Float32Array);
    }
    const norm = await this.norm(gradients, options);
    checkFinite(norm, this.updates + 1);

    this.updates++;
    const numbers = this.numbers(norm, options);
    for (const [path, gradient] of arrays) {
      const param = this.params.get(path)!;
      const before = param.variable.dataSync() as Float32Array;
      const after = new Float32Array(before.length);
      this.rule.onHost(before, after, gradient, this.#momentsOf(path, param), numbers(path, param));
      const tensor = tf.tensor(after, [...param.shape], 'float32');
      param.variable.assign(tensor);
      tensor.dispose();
    }
    return norm;
  }

  async squaredNorms(gradients: Gradients): Promise<Map<string, number>> {
    const squares = new Map<string, number>();
    for (const path of this.params.keys()) {
      const gradient = gradients.get(path);
      if (gradient !== undefined) squares.set(path, sumOfSquares((await gradient.data()) as Float32Array));
    }
    return squares;
  }

  async save(): Promise<OptimizerState> {
    const tensors: Record<string, HostTensor> = {};
    for (const [path, { mean, square }] of this.#moments) {
      const param = this.params.get(path)!;
      tensors[`${path}.${MEAN}`] = param.encode(mean);
      tensors[`${path}.${SQUARE}`] = param.encode(square);
    }
    return { step: this.updates, tensors };
  }

  load(state: OptimizerState): void {
    const paths = checkMoments(this.rule.name, this.params, state);
    this.#moments = new Map(
      paths.map((path) => {
        const param = this.params.get(path)!;
        const decode = (name: string) => param.decode(state.tensors[`${path}.${name}`]!);
        return [path, { mean: decode(MEAN), square: decode(SQUARE) }];
      }),
    );
    this.updates = state.step;
  }

  dispose(): void {
    this.#moments.clear();
    this.updates = 0;
  }

  #momentsOf(path: string, param: Param): HostMoments {
    let moments = this.#moments.get(path);
    if (moments === undefined) {
      moments = { mean: new Float32Array(param.size), square: new Float32Array(param.size) };
      this.#moments.set(path, moments);
    }
    return moments;
  }
}

/** An optimizer with its moments on the device. Everything that changes from update to update is a tensor. */
class AdamOnDevice extends TwoMoments implements Optimizer {
  readonly #moments = new Map<string, DeviceMoments>();

  async step(gradients: Gradients, options: UpdateOptions): Promise<number> {
    const used = [...this.params].filter(([path]) => gradients.has(path));
    const norm = await this.norm(gradients, options);
    checkFinite(norm, this.updates + 1);

    this.updates++;
    const numbers = this.numbers(norm, options);
    const scalars = new Map<number, tf.Scalar>();
    const scalar = (value: number) => {
      const made = scalars.get(value) ?? tf.keep(tf.scalar(value));
      scalars.set(value, made);
      return made;
    };
    for (const [path, param] of used) {
      const moments = this.#momentsOf(path, param);
      const n = numbers(path, param);
      const after = this.rule.onDevice(param.variable, gradients.get(path)!, moments, n, scalar);
      param.variable.assign(after.param);
      after.param.dispose();
      tf.dispose([moments.mean, moments.square]);
      this.#moments.set(path, { mean: tf.keep(after.mean), square: tf.keep(after.square) });
    }
    tf.dispose([...scalars.values()]);
    return norm;
  }

  async squaredNorms(gradients: Gradients): Promise<Map<string, number>> {
    const paths = [...this.params.keys()].filter((path) => gradients.has(path));
    if (paths.length === 0) return new Map();
    const squares = tf.tidy(() => tf.stack(paths.map((path) => tf.sum(tf.square(gradients.get(path)!)))));
    const values = await squares.data(); // one reading back for all
    squares.dispose();
    return new Map(paths.map((path, i) => [path, values[i]!]));
  }

  async save(): Promise<OptimizerState> {
    const tensors: Record<string, HostTensor> = {};
    for (const [path, { mean, square }] of this.#moments) {
      const param = this.params.get(path)!;
      tensors[`${path}.${MEAN}`] = param.encode((await mean.data()) as Float32Array);
      tensors[`${path}.${SQUARE}`] = param.encode((await square.data()) as Float32Array);
    }
    return { step: this.updates, tensors };
  }

  load(state: OptimizerState): void {
    const paths = checkMoments(this.rule.name, this.params, state);
    this.dispose();
    for (const path of paths) {
      const param = this.params.get(path)!;
      const tensor = (name: string) =>
        tf.keep(tf.tensor(param.decode(state.tensors[`${path}.${name}`]!), [...param.shape], 'float32'));
      this.#moments.set(path, { mean: tensor(MEAN), square: tensor(SQUARE) });
    }
    this.updates = state.step;
  }

  dispose(): void {
    for (const { mean, square } of this.#moments.values()) tf.dispose([mean, square]);
    this.#moments.clear();
    this.updates = 0;
  }

  #momentsOf(path: string, param: Param): DeviceMoments {
    let moments = this.#moments.get(path);
    if (moments === undefined) {
      const zeros = () => tf.keep(tf.zeros([...param.shape], 'float32'));
      moments = { mean: zeros(), square: zeros() };
      this.#moments.set(path, moments);
    }
    return moments;
  }
}

/** In float64. */
function sumOfSquares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return sum;
}
