import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { oneOf, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { stepBoundary, TorchGenerator } from '@mezzotint/core';
import { adamW, valueAndGradients } from '@mezzotint/training';
import { ADMUNet, presets } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { criterion, judge, type MemorySample, type SoakVerdict } from './soak-verdict.js';

interface Flags {
  readonly network: string;
  readonly engine?: string;
  readonly steps: number;
  readonly forwards: number;
  readonly batch: number;
}

/** One part of the soak. */
interface Part extends SoakVerdict {
  readonly what: string;
  readonly seconds: number;
  readonly samples: readonly MemorySample[];
  /** Most resident memory of the process so far, garbage included. */
  readonly peakBytes: number;
}

const small = ['digits', 'bench-unet'] as const;
/** Memory is looked at so many times in a part. */
const looks = 100;
setFlagsFromString('--expose-gc');
/** Collects what JavaScript has dropped, whose arrays otherwise stay resident until V8 feels like it. */
const collectGarbage = runInNewContext('gc') as () => void;

const command = new Command('soak')
  .description(
    'Trains and samples for long on one engine with changing times, scalars and batch sizes, and judges its memory:\n' +
      `${criterion}. Exit code 1 if it is not.`,
  )
  .option('--network <preset>', `${small.join(' or ')}`, oneOf('--network', small), 'digits')
  .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)')
  .option('--steps <n>', 'training steps', wholeNumber('--steps', 8), 2000)
  .option('--forwards <n>', 'forward passes', wholeNumber('--forwards', 8), 10_000)
  .option('--batch <n>', 'largest batch', wholeNumber('--batch', 1), 4);

await runCommand<Flags>(
  command,
  async ({ network, engine: asked, steps, forwards, batch }, { say, result, signal }) => {
    const engine = await useBackend({ engine: asked });
    const model = presets.find((preset) => preset.name === network)!.build();
    if (!(model instanceof ADMUNet)) throw new TypeError(`'${network}' is not a UNet`);
    model.init(0);
    say(`${network} on ${engine.name} ${engine.version}; ${criterion}`);
    const parts: Part[] = [];
    const soak = async (what: string, total: number, step: (index: number) => Promise<void>) => {
      const part = await watch(what, total, step, signal);
      parts.push(part);
      const last = part.samples.at(-1)!;
      say(
        `${what}: ${total} in ${part.seconds.toFixed(0)} s, ${last.tensors} tensors, ` +
          `${megabytes(last.residentBytes)} MB resident (x${part.residentRatio.toFixed(3)}, ` +
          `peak ${megabytes(part.peakBytes)} MB): ` +
          (part.flat ? 'flat' : part.problems.join('; ')),
      );
    };
    if (engine.trains) await soak('training steps', steps, trainer(model, batch));
    await soak('forward passes', forwards, forwarder(model, batch));
    const flat = parts.every((part) => part.flat);
    result({ network, engine: engine.name, version: engine.version, flat, criterion, parts });
    if (!flat) process.exitCode = 1;
  },
);

function megabytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

/** Runs steps and samples memory between them. */
async function watch(
  what: string,
  total: number,
  step: (index: number) => Promise<void>,
  signal: AbortSignal,
): Promise<Part> {
  const samples: MemorySample[] = [];
  const progress = startProgress(what, total);
  const started = performance.now();
  const every = Math.max(1, Math.floor(total / looks));
  try {
    for (let done = 1; done <= total; done++) {
      signal.throwIfAborted();
      await step(done - 1);
      if (done % every === 0) {
        collectGarbage();
        const { numTensors: tensors, numBytes: tensorBytes } = tf.memory();
        samples.push({ step: done, tensors, tensorBytes, residentBytes: process.memoryUsage.rss() });
      }
      progress.update(done);
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    progress.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  return { what, seconds, samples, peakBytes: process.resourceUsage().maxRSS * 1024, ...judge(samples) };
}

/** A training step with a new batch, new times, and a learning rate and a loss weight that change each time. */
function trainer(model: ADMUNet, batch: number): (index: number) => Promise<void> {
  const params = model.params();
  const optimizer = adamW(model, { weightDecay: 0.01 });
  const rng = new TorchGenerator(0);
  return async (index) => {
    const inputs = draw(model, batch, rng);
    const weight = 1 + Math.sin(index);
    const { value, gradients } = valueAndGradients(
      params,
      () => tf.tidy(() => tf.mul(tf.mean(tf.square(inputs.forward())), weight)) as tf.Scalar,
    );
    stepBoundary();
    await value.data();
    await optimizer.step(gradients, { learningRate: 1e-5 * (1 + (index % 7)), maxGradientNorm: 1 });
    tf.dispose([value, ...gradients.values(), ...inputs.tensors]);
    stepBoundary();
  };
}

/** A forward pass of 1 to `batch` images with new times, scaled by a number that changes each time. */
function forwarder(model: ADMUNet, batch: number): (index: number) => Promise<void> {
  const rng = new TorchGenerator(1);
  return async (index) => {
    const inputs = draw(model, 1 + (index % batch), rng);
    const answer = tf.tidy(() => tf.mul(inputs.forward(), 1 + index / 1000));
    await answer.data();
    tf.dispose([answer, ...inputs.tensors]);
  };
}

/** Inputs of a pass: normals, times in [0, 1000), labels. */
function draw(model: ADMUNet, count: number, rng: TorchGenerator): { tensors: tf.Tensor[]; forward(): tf.Tensor4D } {
  const { imageSize, inChannels, classes } = model.config;
  const shape: [number, number, number, number] = [count, imageSize, imageSize, inChannels];
  const x = tf.tensor4d(rng.randn(count * imageSize * imageSize * inChannels), shape);
  const time = tf.tensor1d(Float32Array.from(rng.rand(count), (u) => 1000 * u));
  const labels = classes === null ? undefined : tf.tensor1d(rng.randint(0, classes, count), 'int32');
  return {
    tensors: labels === undefined ? [x, time] : [x, time, labels],
    forward: () => model.forward(x, time, labels === undefined ? {} : { labels }),
  };
}
