import * as tf from '@tensorflow/tfjs';
import '../src/index.ts';
import { stepBoundary } from '@mezzotint/core';
import { benchUnet } from '@mezzotint/unet';

const N = Number(process.env.N ?? 8);
const S = Number(process.env.SIZE ?? 32);
const model = (benchUnet as any).build();
if (process.env.THREADS) {
  const { OnnxRuntimeBackend } = await import('../src/index.ts');
  tf.removeBackend('onnxruntime');
  tf.registerBackend('onnxruntime', () => new OnnxRuntimeBackend({ threads: Number(process.env.THREADS) }), 3);
}
await tf.setBackend('onnxruntime');
model.init(7);
// randomise zero weights
for (const [, p] of model.params()) {
  if (p.variable.dataSync().every((v: number) => v === 0)) {
    const r = tf.randomNormal(p.shape, 0, 0.05, 'float32', 5);
    p.variable.assign(r);
    r.dispose();
  }
}
const x = tf.randomNormal([N, S, S, 3], 0, 1, 'float32', 1) as tf.Tensor4D,
  t = tf.tensor1d(Array.from({ length: N }, (_, i) => 10 * i));
const vars = [...model.params().values()].map((p: any) => p.variable);
const loss = () => tf.mean(tf.square(tf.sub(model.forward(x, t), 0.5))) as tf.Scalar;
const be = tf.backend() as any;
if (process.env.CHECK) {
  const run = () => {
    const { value, grads } = tf.variableGrads(loss, vars);
    const r = [Array.from(value.dataSync()), ...vars.map((v: any) => Array.from(grads[v.name]!.dataSync()))];
    tf.dispose([value, ...Object.values(grads)]);
    return r;
  };
  const mine = run();
  await tf.setBackend('cpu');
  const ref = run();
  let worst = 0;
  const names = ['loss', ...model.params().keys()];
  mine.forEach((m: number[], i: number) => {
    let e = 0,
      s = 0;
    m.forEach((v, j) => {
      e = Math.max(e, Math.abs(v - ref[i]![j]!));
      s = Math.max(s, Math.abs(ref[i]![j]!));
    });
    const rel = e / (s + 1e-6);
    if (!(rel < 1e-3)) console.log('off', names[i], e, s);
    if (!(rel <= worst)) worst = rel;
  });
  console.log('loss', mine[0], ref[0], 'worst relative', worst);
  process.exit();
}
const fwd = () => {
  const y = tf.tidy(() => model.forward(x, t));
  stepBoundary();
  y.dispose();
};
const step = () => {
  const { value, grads } = tf.variableGrads(loss, vars);
  stepBoundary();
  tf.dispose([value, ...Object.values(grads)]);
};
const med = (f: () => void, n = Number(process.env.ROUNDS ?? 9)) => {
  f();
  f();
  const ts: number[] = [];
  const cs: number[] = [];
  for (let i = 0; i < n; i++) {
    const c = process.cpuUsage();
    const a = performance.now();
    f();
    ts.push(performance.now() - a);
    const d = process.cpuUsage(c);
    cs.push((d.user + d.system) / 1000);
  }
  ts.sort((a, b) => a - b);
  cs.sort((a, b) => a - b);
  return `wall min ${ts[0]!.toFixed(0)} med ${ts[n >> 1]!.toFixed(0)}  cpu min ${cs[0]!.toFixed(0)} med ${cs[n >> 1]!.toFixed(0)}`;
};
let a = performance.now();
fwd();
console.log('first forward', (performance.now() - a).toFixed(0));
console.log('forward', med(fwd));
a = performance.now();
step();
console.log('first step', (performance.now() - a).toFixed(0));
console.log('grad step', med(step), be.statistics(), tf.memory().numTensors);
