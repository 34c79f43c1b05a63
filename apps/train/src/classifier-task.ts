import { type ClassifierModelConfig, type Process, saveModel } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { type ClassifierNetwork, InvalidArgumentError, type NoiseLevel, type RandomStream } from '@mezzotint/core';
import { type ImageSet, toFloat } from '@mezzotint/data';
import { processOf } from '@mezzotint/schedulers';
import { crossEntropy, noiseLevels, stratified, uniformTimesteps } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { ClassifierTask } from './config.js';
import { checkNetworkFits, dataShape, networkConfig } from './network-config.js';
import type { Task } from './task.js';
import { picturesFor, type TrainingData } from './training-data.js';

/** A classifier of clean images, or of images under the noise of a process. */
export function classifierTask(config: ClassifierTask, source: TrainingData): Task {
  const data = picturesFor('classifier', source);
  const architecture = architectureOfKind('classifier', config.architecture);
  const network = networkConfig(architecture, config.network, dataShape(data));
  checkNetworkFits(architecture.signature(network), dataShape(data));
  const model = architecture.build(network).init(config.seed);
  const heldOut = data.heldOut?.images;
  const modelConfig: ClassifierModelConfig = {
    format: 'mezzotint/classifier@1',
    architecture: architecture.name,
    network: network as Record<string, unknown>,
    image: { size: data.height, channels: data.channels },
    classes: [...data.classes],
    process: config.process,
  };
  const levels = classifierLevels(config.process, config.cleanShare);
  return {
    model,
    save: (folder, { half }) => saveModel(folder, modelConfig, model, { half, overwrite: true }),
    loss: ({ batch: { images: pixels, labels, shape }, rng }) =>
      tf.tidy(() => {
        const at = levels(shape[0], rng);
        const column = (values: readonly number[]) => tf.tensor4d(Float32Array.from(values), [shape[0], 1, 1, 1]);
        const noise = tf.tensor4d(rng.randn(pixels.length), [...shape]);
        const x = tf.add(
          tf.mul(tf.tensor4d(pixels, [...shape]), column(at.map((level) => level.alpha))),
          tf.mul(noise, column(at.map((level) => level.sigma))),
        ) as tf.Tensor4D;
        const logits = model.forward(x, tf.tensor1d(at.map((level) => level.time)), { rng });
        return crossEntropy(logits, tf.tensor1d(labels, 'int32'));
      }),
    async report(_step, _folder, signal) {
      return heldOut === undefined ? {} : { heldOutAccuracy: await accuracy(model, heldOut, signal) };
    },
  };
}

type TimedLevel = NoiseLevel & { readonly time: number };

/** The first `cleanShare` of a batch stays clean (time 0); the rest is spread over the chain. What is no whole number is rounded at random. */
function classifierLevels(process: Process | null, cleanShare: number): (n: number, rng: RandomStream) => TimedLevel[] {
  const clean: TimedLevel = { alpha: 1, sigma: 0, time: 0 };
  if (process === null) return (n) => Array<TimedLevel>(n).fill(clean);
  if (process.kind !== 'discrete') {
    throw new InvalidArgumentError('process', `a classifier needs a discrete process, got ${process.kind}`);
  }
  const draw = noiseLevels(uniformTimesteps(processOf(process)), stratified);
  return (n, rng) => {
    const wanted = n * cleanShare;
    const untouched = Number.isInteger(wanted) ? wanted : Math.floor(wanted + rng.rand(1)[0]!);
    return [...Array<TimedLevel>(untouched).fill(clean), ...draw(n - untouched, rng)];
  };
}

/** Share of clean images that are read as what they are. */
async function accuracy(model: ClassifierNetwork, images: ImageSet, signal: AbortSignal): Promise<number> {
  const { count, height, width, channels } = images;
  const size = height * width * channels;
  const batch = 200;
  let right = 0;
  for (let first = 0; first < count; first += batch) {
    signal.throwIfAborted();
    const n = Math.min(batch, count - first);
    const read = tf.tidy(() => {
      const pixels = toFloat(images.images.subarray(first * size, (first + n) * size));
      return tf.argMax(model.forward(tf.tensor4d(pixels, [n, height, width, channels]), tf.zeros([n])), 1);
    });
    const guesses = await read.data();
    read.dispose();
    for (let i = 0; i < n; i++) if (guesses[i] === images.labels[first + i]) right++;
  }
  return right / count;
}
