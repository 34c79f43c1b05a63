import * as tf from '@tensorflow/tfjs-core';

/** Running means of numbers that are computed inside of losses. Holds tensors between `add` and what reads them. */
export class Meter {
  readonly #seen = new Map<string, tf.Scalar[]>();
  /** Numbers that were read already: what came before a checkpoint. */
  #values: Record<string, number[]> = {};

  /** Takes note of a scalar, which stays the caller's. */
  add(name: string, value: tf.Scalar): void {
    const kept = tf.keep(tf.clone(value));
    this.#seen.set(name, [...(this.#seen.get(name) ?? []), kept]);
  }

  /** All numbers since the last `read`, in order, so that a resumed run has the same means. */
  async state(): Promise<Readonly<Record<string, readonly number[]>>> {
    for (const [name, scalars] of this.#seen) {
      const values = this.#values[name] ?? [];
      this.#values[name] = values;
      for (const scalar of scalars) values.push((await scalar.data())[0]!);
      tf.dispose(scalars);
    }
    this.#seen.clear();
    return structuredClone(this.#values);
  }

  /** Goes on from a `state()`, also after JSON. */
  resume(state: Readonly<Record<string, readonly number[]>>): void {
    this.#values = Object.fromEntries(Object.entries(state).map(([name, values]) => [name, [...values]]));
  }

  /** The mean of each since the last call. */
  async read(): Promise<Record<string, number>> {
    const state = await this.state();
    this.#values = {};
    return Object.fromEntries(
      Object.entries(state).map(([name, values]) => [name, values.reduce((a, b) => a + b, 0) / values.length]),
    );
  }
}
