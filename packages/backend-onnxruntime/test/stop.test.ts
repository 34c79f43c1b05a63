import type { OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import '@mezzotint/backend-onnxruntime';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { isStop, WORTH_A_STOP } from '../src/session/stop.js';

beforeAll(async () => {
  await tf.setBackend('onnxruntime');
});

const SIZE = WORTH_A_STOP / 4;

/** Two results of one run, as step and `n` make them; they stay on the engine. */
function run(n: number): [tf.Tensor, tf.Tensor] {
  return tf.tidy(() => {
    const x = tf.fill([SIZE], n);
    return [tf.square(x), tf.range(0, SIZE, 1).add(x)];
  });
}

test('large results are right, each in its own place', () => {
  for (const n of [2, 3]) {
    const [squares, sums] = run(n);
    // Reading the second runs both.
    const last = sums.dataSync();
    expect([last[0], last[SIZE - 1]]).toEqual([n, SIZE - 1 + n]);
    const first = squares.dataSync();
    expect([first[0], first[SIZE - 1]]).toEqual([n * n, n * n]);
    tf.dispose([squares, sums]);
  }
});

test('the binding stops before it copies large results, and hands out small ones', () => {
  const both = (): void => {
    const large = run(4);
    const small = tf.tidy(() => tf.square(tf.tensor1d([1, 2, 3])));
    expect([large[1].dataSync()[1], ...small.dataSync()]).toEqual([5, 1, 4, 9]);
    tf.dispose([large, small]);
  };
  both();
  const programs = (tf.backend() as OnnxRuntimeBackend).executor.programs.all().slice(-2);
  const runs = programs.map(({ session }) => vi.spyOn(session!, 'run'));
  both();
  expect(programs.map(({ plan }) => plan.stop !== undefined)).toEqual([true, false]);
  const [stopped, returned] = runs.map(({ mock }) => mock.results);
  expect(stopped!.map(({ type, value }) => [type, isStop(value)])).toEqual([['throw', true]]);
  expect(returned!.map(({ type }) => type)).toEqual(['return']);
});
