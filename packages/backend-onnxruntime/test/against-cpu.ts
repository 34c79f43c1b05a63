import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-cpu';
import '@mezzotint/backend-onnxruntime';
import { expect } from 'vitest';

type Result = { readonly shape: readonly number[]; readonly dtype: string; readonly data: ArrayLike<number> };

function run(backend: string, compute: () => tf.Tensor | tf.Tensor[]): Result[] {
  if (!tf.setBackend(backend)) throw new Error(`${backend} did not start`);
  const made = tf.tidy(compute);
  const list = Array.isArray(made) ? made : [made];
  const results = list.map((t) => ({ shape: t.shape, dtype: t.dtype, data: t.dataSync() }));
  tf.dispose(list);
  return results;
}

/**
 * Runs `compute` on onnxruntime and on cpu, and expects equal shapes, types and numbers: |a - b| <= tolerance (1 + |b|).
 * The two add the same float32 numbers in another order; the tolerance says how many of them.
 */
export function expectLikeCpu(compute: () => tf.Tensor | tf.Tensor[], tolerance = 1e-5): void {
  const own = run('onnxruntime', compute);
  const reference = run('cpu', compute);
  tf.setBackend('onnxruntime');
  expect(own.map(({ shape, dtype }) => [shape, dtype])).toEqual(reference.map(({ shape, dtype }) => [shape, dtype]));
  own.forEach(({ data }, index) => {
    const expected = reference[index]!.data;
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const [a, b] = [data[i]!, expected[i]!];
      if (Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b))) continue;
      const error = Math.abs(a - b) / (1 + Math.abs(b));
      if (!(error <= worst)) worst = error;
    }
    expect(worst).toBeLessThanOrEqual(tolerance);
  });
}

/** Seeded normals. */
export function normals(shape: readonly number[], seed = 1): tf.Tensor {
  return tf.randomNormal([...shape], 0, 1, 'float32', seed);
}
