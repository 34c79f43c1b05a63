import * as tf from '@tensorflow/tfjs-core';

/** Running means of numbers that are computed inside of losses. Holds tensors between `add` and `read`. */
export class Meter {
  readonly #seen = new Map<string, tf.Scalar[]>();

  /** Takes note of a scalar, which stays the caller's. */
  add(name: string, value: tf.Scalar): void {
    const kept = tf.keep(tf.clone(value));
    this.#seen.set(name, [...(this.#seen.get(name) ?? []), kept]);
  }

  /** The mean of each since the last call. */
  async read(): Promise<Record<string, number>> {
    const means: Record<string, number> = {};
    for (const [name, scalars] of this.#seen) {
      let sum = 0;
      for (const scalar of scalars) sum += (await scalar.data())[0]!;
      means[name] = sum / scalars.length;
      tf.dispose(scalars);
    }
    this.#seen.clear();
    return means;
  }
}
