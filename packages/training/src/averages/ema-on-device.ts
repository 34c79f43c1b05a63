import type { HostTensor, Module, Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Average, AverageState } from './average.js';
import { checkAverage } from './average-state.js';
import type { EmaDecay } from './ema-decay.js';
import { swapped } from './swapped.js';

/** An exponential average on the device: three kernels a parameter and update. */
export class EmaOnDevice implements Average {
  readonly #params: ReadonlyMap<string, Param>;
  readonly #decay: EmaDecay;
  readonly #values = new Map<string, tf.Tensor>();
  #updates = 0;

  /** Starts at the model's present weights. */
  constructor(model: Module, decay: EmaDecay) {
    this.#params = model.params();
    this.#decay = decay;
    for (const [path, param] of this.#params) this.#values.set(path, tf.keep(tf.clone(param.variable)));
  }

  update(): void {
    const share = tf.scalar(1 - this.#decay(this.#updates++));
    for (const [path, param] of this.#params) {
      const before = this.#values.get(path)!;
      const after = tf.tidy(() => tf.add(before, tf.mul(tf.sub(param.variable, before), share)));
      this.#values.set(path, tf.keep(after));
      before.dispose();
    }
    share.dispose();
  }

  during<T>(body: () => T | Promise<T>): Promise<T> {
    return swapped(this.#params, (path) => tf.clone(this.#values.get(path)!), body);
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
