import { type HostTensor, InvalidArgumentError, Module, type Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { tensorsAreInHostMemory } from '../engine.js';
import { type Average, type AverageState, checkAverage, withWeights } from './average.js';

/** The decay of an average at an update, given how many were done before. 0 copies the parameters. */
export type EmaDecay = (updatesBefore: number) => number;

/** The same decay at every update. */
export function constantDecay(decay: number): EmaDecay {
  checkDecay('constantDecay', decay);
  return () => decay;
}

/** min(decay, (1 + s) / (10 + s)), and 0 at the first update: the default of diffusers' EMAModel (and of TensorFlow). */
export function ratioWarmUp(decay = 0.9999): EmaDecay {
  checkDecay('ratioWarmUp', decay);
  return (s) => (s <= 0 ? 0 : Math.min(decay, (1 + s) / (10 + s)));
}

/**
 * min(decay, 1 - (1 + s / inverseGamma)^-power), and 0 at the first update: diffusers' `use_ema_warmup`. Power 2/3 suits
 * runs of a million steps, 3/4 shorter ones.
 */
export function powerWarmUp({ decay = 0.9999, inverseGamma = 1, power = 2 / 3 } = {}): EmaDecay {
  checkDecay('powerWarmUp', decay);
  return (s) => (s <= 0 ? 0 : Math.min(decay, 1 - (1 + s / inverseGamma) ** -power));
}

/**
 * min(1/2^(1/halfLife), 1/2^(1/(rampUp s))): a half-life in updates that first grows with the run. EDM (Karras et al.
 * 2022), appendix F.2: half-life 0.5 million images, which is divided by the batch size, and ramp-up 0.05, a ratio, which is not.
 */
export function halfLifeDecay({ halfLife, rampUp }: { halfLife: number; rampUp?: number }): EmaDecay {
  if (!(halfLife > 0)) throw new InvalidArgumentError('halfLifeDecay', `halfLife must be above 0, got ${halfLife}`);
  return (s) => {
    const life = rampUp === undefined ? halfLife : Math.min(halfLife, s * rampUp);
    return 0.5 ** (1 / Math.max(life, 1e-8));
  };
}

function checkDecay(who: string, decay: number): void {
  if (!(decay >= 0 && decay <= 1)) throw new InvalidArgumentError(who, `the decay must be in [0, 1], got ${decay}`);
}

/**
 * The exponential moving average e' = e + (1 - decay) (p - e) of a model's parameters, starting at their present values,
 * kept where the engine in use is fast unless `place` says where. The state of one form loads into the other.
 */
export function ema(
  of: Module | ReadonlyMap<string, Param>,
  decay: EmaDecay,
  { place = tensorsAreInHostMemory() ? 'host' : 'device' }: { readonly place?: 'host' | 'device' } = {},
): Average {
  return place === 'host' ? new EmaOnHost(of, decay) : new EmaOnDevice(of, decay);
}

function paramsOf(of: Module | ReadonlyMap<string, Param>): ReadonlyMap<string, Param> {
  return Module.isInstance(of) ? of.params() : of;
}

/** An exponential average in JavaScript memory: one pass over the typed arrays an update. */
class EmaOnHost implements Average {
  readonly #params: ReadonlyMap<string, Param>;
  readonly #decay: EmaDecay;
  #values: ReadonlyMap<string, Float32Array>;
  #updates = 0;

  /** Starts at the present weights. */
  constructor(of: Module | ReadonlyMap<string, Param>, decay: EmaDecay) {
    this.#params = paramsOf(of);
    this.#decay = decay;
    this.#values = new Map(
      [...this.#params].map(([path, param]) => [path, Float32Array.from(param.variable.dataSync())]),
    );
  }

  update(): void {
    const fraction = 1 - this.#decay(this.#updates++);
    for (const [path, param] of this.#params) {
      const average = this.#values.get(path)!;
      const now = param.variable.dataSync();
      for (let i = 0; i < average.length; i++) average[i] = average[i]! + (now[i]! - average[i]!) * fraction;
    }
  }

  withAveragedWeights<T>(body: () => T | Promise<T>): Promise<T> {
    const tensorFor = (path: string) =>
      tf.tensor(Float32Array.from(this.#values.get(path)!), [...this.#params.get(path)!.shape], 'float32');
    return withWeights(this.#params, tensorFor, body);
  }

  async save(): Promise<AverageState> {
    const tensors: Record<string, HostTensor> = {};
    for (const [path, param] of this.#params) tensors[path] = param.encode(this.#values.get(path)!);
    return { updates: this.#updates, tensors };
  }

  load(state: AverageState): void {
    checkAverage(this.#params, state);
    this.#values = new Map([...this.#params].map(([path, param]) => [path, param.decode(state.tensors[path]!)]));
    this.#updates = state.updates;
  }

  dispose(): void {
    this.#values = new Map();
  }
}

/** An exponential average on the device: three kernels a parameter and update. */
class EmaOnDevice implements Average {
  readonly #params: ReadonlyMap<string, Param>;
  readonly #decay: EmaDecay;
  readonly #values = new Map<string, tf.Tensor>();
  #updates = 0;

  /** Starts at the present weights. */
  constructor(of: Module | ReadonlyMap<string, Param>, decay: EmaDecay) {
    this.#params = paramsOf(of);
    this.#decay = decay;
    for (const [path, param] of this.#params) this.#values.set(path, tf.keep(tf.clone(param.variable)));
  }

  update(): void {
    const fraction = tf.scalar(1 - this.#decay(this.#updates++));
    for (const [path, param] of this.#params) {
      const before = this.#values.get(path)!;
      const after = tf.tidy(() => tf.add(before, tf.mul(tf.sub(param.variable, before), fraction)));
      this.#values.set(path, tf.keep(after));
      before.dispose();
    }
    fraction.dispose();
  }

  withAveragedWeights<T>(body: () => T | Promise<T>): Promise<T> {
    return withWeights(this.#params, (path) => tf.clone(this.#values.get(path)!), body);
  }

  async save(): Promise<AverageState> {
    const tensors: Record<string, HostTensor> = {};
    for (const [path, param] of this.#params) {
      tensors[path] = param.encode((await this.#values.get(path)!.data()) as Float32Array);
    }
    return { updates: this.#updates, tensors };
  }

  load(state: AverageState): void {
    checkAverage(this.#params, state);
    for (const [path, param] of this.#params) {
      this.#values.get(path)?.dispose();
      const values = param.decode(state.tensors[path]!);
      this.#values.set(path, tf.keep(tf.tensor(values, [...param.shape], 'float32')));
    }
    this.#updates = state.updates;
  }

  dispose(): void {
    for (const value of this.#values.values()) value.dispose();
    this.#values.clear();
  }
}
