// One engine in a process of its own: says who it is, then runs the job named on each line of standard input.
import { createInterface } from 'node:readline';
import { useBackend } from '@mezzotint/backend';
import { MezzotintError, stepBoundary } from '@mezzotint/core';
import { adamW, valueAndGradients } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { matmulSize } from './cost.js';
import { type NetworkName, networks } from './networks.js';

const [engineName, networkName, weights] = process.argv.slice(2) as [string, NetworkName, string | undefined];
const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

try {
  const engine = await useBackend({ engine: engineName });
  const { trains, build } = networks[networkName];
  const { model, forward } = build();
  if (weights !== undefined) {
    const { freeze } = await import('@mezzotint/backend-onnxruntime');
    freeze(model, { weights: weights as Parameters<typeof freeze>[1]['weights'] });
  }
  const jobs: Record<string, () => Promise<void>> = {
    async forward() {
      const answer = forward();
      await answer.data();
      answer.dispose();
    },
  };
  if (trains && engine.trains && weights === undefined) {
    const params = model.params();
    const optimizer = adamW(model, { weightDecay: 0.01 });
    const loss = () => tf.tidy(() => tf.mean(tf.square(forward()))) as tf.Scalar;
    jobs.train = async () => {
      const { value, gradients } = valueAndGradients(params, loss);
      stepBoundary();
      await value.data();
      await optimizer.step(gradients, { learningRate: 1e-4, maxGradientNorm: 1 });
      tf.dispose([value, ...gradients.values()]);
      stepBoundary();
    };
  }
  if (engine.name !== 'cpu') {
    const [a, b] = [1, 2].map((seed) => tf.randomNormal([matmulSize, matmulSize], 0, 1, 'float32', seed));
    jobs.matmul = async () => {
      const sum = tf.tidy(() => tf.sum(tf.matMul(a!, b!)));
      await sum.data();
      sum.dispose();
    };
  }
  const name = weights === undefined ? engine.name : `${engine.name} ${weights}`;
  say({ name, version: engine.version, jobs: Object.keys(jobs) });
  for await (const line of createInterface({ input: process.stdin })) {
    const job = jobs[line];
    if (job === undefined) throw new Error(`unknown job '${line}'`);
    const start = performance.now();
    await job();
    say({ milliseconds: performance.now() - start, peakBytes: process.resourceUsage().maxRSS * 1024 });
  }
} catch (error) {
  say({ unavailable: MezzotintError.isInstance(error) ? (error.facts.reason ?? error.message) : String(error) });
}
