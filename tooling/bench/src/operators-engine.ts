// The operators by TensorFlow.js on the engine onnxruntime. `inside`: operands as the engine keeps them within a network,
// and the result stays; `alone`: operands as they were uploaded, and the result is read.
import { useBackend } from '@mezzotint/backend';
import { stepBoundary } from '@mezzotint/core';
import { attention, conv2d, linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { nameOf, type Operator, operators } from './operators.js';
import { repeated, serve } from './serve.js';

const [mode] = process.argv.slice(2) as ['inside' | 'alone'];
const seeded = <T extends tf.Tensor>(shape: number[], seed: number) =>
  tf.randomNormal(shape, 0, 1, 'float32', seed) as T;

await serve(async () => {
  const engine = await useBackend({ engine: 'onnxruntime' });
  const jobs = operators.map((operator) => {
    let run: (() => tf.Tensor) | undefined;
    const job = repeated(async () => {
      run ??= prepared(operator);
      const result = tf.tidy(run);
      if (mode === 'alone') await result.data();
      else stepBoundary();
      result.dispose();
    });
    return [nameOf(operator), job] as const;
  });
  return { name: mode, version: engine.version, jobs: Object.fromEntries(jobs) };
});

/** Makes an operator's operands; gives what computes it. */
function prepared(operator: Operator): () => tf.Tensor {
  if (operator.kind === 'convolution') {
    const { image, channels, kernel, stride } = operator;
    const c = image[3];
    const w = seeded<tf.Tensor4D>([kernel, kernel, c, channels], 1);
    const uploaded = seeded<tf.Tensor4D>([...image], 2);
    // What a convolution has made lies as convolutions want it.
    const x = mode === 'alone' ? uploaded : tf.tidy(() => conv2d(uploaded, seeded<tf.Tensor4D>([1, 1, c, c], 3), null));
    stepBoundary();
    return () => conv2d(x, w, null, { stride, padding: (kernel - 1) / 2 });
  }
  if (operator.kind === 'product') {
    const { rows, inner, columns } = operator;
    const [x, w] = [seeded<tf.Tensor2D>([rows, inner], 1), seeded<tf.Tensor2D>([columns, inner], 2)];
    return () => linear(x, w, null);
  }
  const { batch, heads, queries, keys, width } = operator;
  const [q, k, v] = [queries, keys, keys].map((t, seed) => seeded<tf.Tensor4D>([batch, t, heads, width], seed + 1));
  const split = (x: tf.Tensor4D) => tf.transpose(x, [0, 2, 1, 3]) as tf.Tensor4D;
  return () => tf.transpose(attention(split(q!), split(k!), split(v!)), [0, 2, 1, 3]);
}
