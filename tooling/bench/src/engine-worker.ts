// One engine and one job in a process of its own, so that its memory is that job's: `engine network job [weights]`.
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError, stepBoundary } from '@mezzotint/core';
import { adamW, valueAndGradients } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { matmulSize } from './cost.js';
import { type BuiltNetwork, type NetworkName, networks } from './networks.js';
import { once, serve } from './serve.js';
import { relativeError } from './statistics.js';

const [engineName, networkName, job, weights] = process.argv.slice(2) as [
  string,
  NetworkName,
  string,
  string | undefined,
];

await serve(async () => {
  const engine = await useBackend({ engine: engineName });
  const facts = { name: weights === undefined ? engine.name : `${engine.name} ${weights}`, version: engine.version };
  if (job === 'matmul') return { ...facts, jobs: { matmul: once(matmul()) } };
  const network = networks[networkName].build();
  if (job === 'train') {
    if (!engine.trains) throw new InvalidArgumentError('bench', `${engine.name} does not train`);
    return { ...facts, jobs: { train: once(train(network)) } };
  }
  const narrowed = weights === undefined ? {} : { narrowed: await narrow(network, weights) };
  return { ...facts, ...narrowed, jobs: { forward: once(async () => void (await answer(network))) } };
});

async function answer({ forward }: BuiltNetwork): Promise<Float32Array> {
  const output = forward();
  const numbers = await output.data<'float32'>();
  output.dispose();
  return numbers;
}

function train({ model, forward }: BuiltNetwork): () => Promise<void> {
  const params = model.params();
  const optimizer = adamW(model, { weightDecay: 0.01 });
  const loss = () => tf.tidy(() => tf.mean(tf.square(forward()))) as tf.Scalar;
  return async () => {
    const { value, gradients } = valueAndGradients(params, loss);
    stepBoundary();
    await value.data();
    await optimizer.step(gradients, { learningRate: 1e-4, maxGradientNorm: 1 });
    tf.dispose([value, ...gradients.values()]);
    stepBoundary();
  };
}

function matmul(): () => Promise<void> {
  const [a, b] = [1, 2].map((seed) => tf.randomNormal([matmulSize, matmulSize], 0, 1, 'float32', seed));
  return async () => {
    const sum = tf.tidy(() => tf.sum(tf.matMul(a!, b!)));
    await sum.data();
    sum.dispose();
  };
}

/** Keeps the weights in fewer bits; their bytes before and after, and the relative error of the output in the 2-norm. */
async function narrow(network: BuiltNetwork, format: string) {
  const { quantize } = await import('@mezzotint/backend-onnxruntime');
  randomiseZeros(network);
  const exact = await answer(network);
  const { bytesBefore, bytesAfter } = quantize(network.model, {
    weights: format as Parameters<typeof quantize>[1]['weights'],
  });
  const rounded = await answer(network);
  return { bytesBefore, bytesAfter, error: relativeError(rounded, exact) };
}

/** Weights that begin as zeros, such as a residual block's last, would hide the error of all before them. */
function randomiseZeros({ model }: BuiltNetwork): void {
  let seed = 0;
  for (const { variable } of model.params().values()) {
    tf.tidy(() => {
      if (tf.any(tf.notEqual(variable, 0)).dataSync()[0]) return;
      variable.assign(tf.randomNormal(variable.shape, 0, 0.02, 'float32', ++seed));
    });
  }
}
