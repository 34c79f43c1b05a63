import { useBackend } from '@mezzotint/backend';
import * as tf from '@tensorflow/tfjs-core';

await useBackend({ engine: 'onnxruntime' });
const be = tf.backend() as any;
const [K, N] = [3072, 9216];
const w = tf.variable(tf.randomNormal([N, K], 0, 0.02));
const wq = tf.variable(tf.randomNormal([N, K], 0, 0.02));
be.narrow(wq, { bits: 4, block: 32, integer: false });
const w8 = tf.variable(tf.randomNormal([N, K], 0, 0.02));
be.narrow(w8, { bits: 8, block: 32, integer: false });
for (const M of [1, 256, 1280]) {
  const x = tf.randomNormal([M, K]);
  x.dataSync();
  const time = (v: tf.Tensor) => {
    const t: number[] = [];
    for (let i = 0; i < 4; i++) {
      const s = performance.now();
      tf.tidy(() => tf.matMul(x, v as any, false, true).dataSync());
      t.push(performance.now() - s);
    }
    return t.map((n) => n.toFixed(0)).join(' ');
  };
  console.log(M, 'f32', time(w), '| int4', process.env.FED ? 'fed' : 'const', time(wq), '| int8', time(w8));
}
console.log(process.memoryUsage().rss / 1e6);
