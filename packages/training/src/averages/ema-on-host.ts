import type { HostTensor, Module, Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Average, AverageState } from './average.js';
import { checkAverage } from './average-state.js';
import type { EmaDecay } from './ema-decay.js';
import { swapped } from './swapped.js';

/** An exponential average in JavaScript memory: one pass over the typed arrays an update. */
export class EmaOnHost implements Average {
  readonly #params: ReadonlyMap<string, Param>;
  readonly #decay: EmaDecay;
  #values: ReadonlyMap<string, Float32Array>;
  #updates = 0;

  /** Starts at the model's present weights. */
  constructor(model: Module, decay: EmaDecay) {
    this.#params = model.params();
    this.#decay = decay;
    this.#values = new Map(
      [...this.#params].map(([path, param]) => [path, Float32Array.from(param.variable.dataSync())]),
    );
  }

  update(): void {
    const share = 1 - this.#decay(this.#updates++);
    for (const [path, param] of this.#params) {
      const average = this.#values.get(path)!;
      const now = param.variable.dataSync();
      for (let i = 0; i < average.length; i++) average[i] = average[i]! + (now[i]! - average[i]!) * share;
    }
  }

  during<T>(body: () => T | Promise<T>): Promise<T> {
    const tensorFor = (path: string) =>
      tf.tensor(Float32Array.from(this.#values.get(path)!), [...this.#params.get(path)!.shape], 'float32');
    return swapped(this.#params, tensorFor, body);
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
