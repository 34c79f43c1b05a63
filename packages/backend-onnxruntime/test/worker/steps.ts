import type { WorkerContext } from '@mezzotint/backend-onnxruntime';
import * as tf from '@tensorflow/tfjs';

/** What the worker test calls. */
export async function square({ values }: { values: Float32Array }): Promise<{ backend: string; values: Float32Array }> {
  const y = tf.tidy(() => tf.square(tf.tensor1d(values)));
  const result = { backend: tf.getBackend(), values: (await y.data()) as Float32Array };
  y.dispose();
  return result;
}

export async function* halves(start: number, { signal }: WorkerContext): AsyncGenerator<number> {
  let x: tf.Tensor = tf.scalar(start);
  for (let i = 0; i < 1000 && !signal.aborted; i++) {
    const next = tf.mul(x, 0.5);
    x.dispose();
    x = next;
    yield (await x.data())[0]!;
  }
  x.dispose();
}

/** About a second of work. */
export function heavy(): number {
  const started = performance.now();
  while (performance.now() - started < 600)
    tf.tidy(() => tf.matMul(tf.ones([256, 256]), tf.ones([256, 256])).dataSync());
  return performance.now() - started;
}

export function fail(): never {
  throw new RangeError('as asked');
}
