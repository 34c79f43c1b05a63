import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContext } from '@mezzotint/app';
import { openClassifier } from '@mezzotint/app';
import { type Denoiser, InvalidArgumentError, type Module, type StateDict } from '@mezzotint/core';
import { loadDigits } from '@mezzotint/data/digits';
import { classifierFree } from '@mezzotint/guidance';
import { forceWeightNormalization, takesNormsOfWeights } from '@mezzotint/layers';
import { FeatureStatistics, frechetDistance } from '@mezzotint/metrics';
import { TorchGenerator } from '@mezzotint/random';
import { perImageNoise, run, samplerFromProcess } from '@mezzotint/schedulers';
import {
  adam,
  dropLabels,
  edmLoss,
  ema,
  inverseSqrtRate,
  layPlain,
  logNormalSigmas,
  noiseLevels,
  powerFunctionDecay,
  stratified,
  train,
  warmUp,
} from '@mezzotint/training';
import { CheckpointFolder, writeSnapshot } from '@mezzotint/training/node';
import { type AblationConfig, type AblationName, AblationUNet, ablation, EDM2 } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';

/** Pixels a side: the digits at half their size, so that a network trains in minutes on two cores. */
export const size = 14;
/** The label that means none. */
const noLabel = 10;

/** Widths of the averages that are tracked. */
export const tracked = [0.05, 0.1];

/** A configuration of the ablation at a tiny width, for the small digits. */
export function tiny(name: AblationName): AblationConfig {
  const { unet, recipe } = ablation[name];
  const attentionSizes = name === 'A' ? [size, size / 2] : [size / 2];
  const shape = {
    imageSize: size,
    inChannels: 1,
    classes: 10,
    modelChannels: 16,
    channelMult: [1, 2],
    embeddingMult: 2,
  };
  return { unet: { ...unet, ...shape, attentionSizes, resBlocks: 1, channelsPerHead: 16, dropout: 0 }, recipe };
}

export type TinyModel = EDM2<AblationUNet>;

export function build({ unet, recipe }: AblationConfig): TinyModel {
  return new EDM2({ sigmaData: 0.5, logvarChannels: recipe.uncertainty ? 32 : null }, new AblationUNet(unet));
}

interface SmallDigits {
  readonly pixels: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
}

let loaded: SmallDigits | undefined;

/** Pictures as floats in [-1, 1], `[N, 14, 14, 1]`, and their labels: the first half trains, the second is compared with. */
export function smallDigits(): SmallDigits {
  loaded ??= readSmallDigits();
  return loaded;
}

function readSmallDigits(): SmallDigits {
  const { images, labels, count, width } = loadDigits();
  const order = Array.from(new TorchGenerator(0).rand(count), (u, i) => [u, i] as const).sort((a, b) => a[0] - b[0]);
  const pixels = new Float32Array(count * size * size);
  order.forEach(([, from], to) => {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const at = from * width * width + 2 * y * width + 2 * x;
        const sum = images[at]! + images[at + 1]! + images[at + width]! + images[at + width + 1]!;
        pixels[(to * size + y) * size + x] = sum / 510 - 1;
      }
    }
  });
  return { pixels, labels: Int32Array.from(order, ([, from]) => labels[from]!), count };
}

/** A training of one configuration. */
export interface DigitsRun {
  readonly folder: string;
  readonly config: AblationConfig;
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
  /** Updates between snapshots of the averages; none when absent. */
  readonly snapshotEvery?: number;
  /** Called after an update, with the model as it is. */
  readonly onStep?: (step: number, loss: number, model: TinyModel) => void | Promise<void>;
}

/** Peak of the rate for a run of hundreds of updates: the paper's for normalised weights, ten times the paper's before. */
const peakOf = ({ recipe, unet }: AblationConfig) => (unet.normalizedWeights ? 1 : 10) * recipe.learningRate;

/**
 * Trains a configuration as EDM2's ablation does, its rate decaying from the same fraction of the run on, one label in ten dropped.
 * Goes on from the last checkpoint of the folder. Gives the averages of the tracked widths.
 */
export async function trainDigits(
  options: DigitsRun,
  { signal }: Pick<CommandContext, 'signal'>,
): Promise<StateDict[]> {
  const { folder, config, steps, batch, seed, snapshotEvery, onStep } = options;
  const { recipe } = config;
  mkdirSync(join(folder, 'snapshots'), { recursive: true });
  const { pixels, labels, count } = smallDigits();
  const model = build(config).init(seed);
  const rng = new TorchGenerator(seed);
  const optimizer = adam(model, { betas: [0.9, recipe.adamBeta2] });
  const averages = Object.fromEntries(
    tracked.map((width) => [`power-${width}`, ema(model, powerFunctionDecay(width))]),
  );
  const checkpoints = new CheckpointFolder(join(folder, 'checkpoints'), { keep: 1 });
  const settings = { steps, batch, seed, config, snapshotEvery };
  const saved = await checkpoints.latest();
  if (saved && JSON.stringify(saved.extra) !== JSON.stringify(settings)) {
    throw new InvalidArgumentError(folder, 'holds a training with other settings; choose another --out, or remove it');
  }
  await saved?.load({ model, optimizer, averages });
  const stream = saved?.streams.main ?? rng;
  // The paper decays after 70,000 of 1,048,576 updates.
  const after =
    recipe.decayBatches === Number.POSITIVE_INFINITY ? steps : Math.max(1, Math.round((70_000 / 1_048_576) * steps));
  const peak = peakOf(config);
  const updates = train<Float32Array>({
    loss: ({ batch: chosen, rng }) => {
      const rows = Array.from(chosen, (u) => Math.floor((u * count) / 2));
      const clean = new Float32Array(batch * size * size);
      rows.forEach(
        (row, i) => void clean.set(pixels.subarray(row * size * size, (row + 1) * size * size), i * size * size),
      );
      const kept = dropLabels(
        Int32Array.from(rows, (row) => labels[row]!),
        noLabel,
        0.1,
        rng,
      );
      const cond = tf.tensor1d(kept, 'int32');
      const x0 = tf.tensor4d(clean, [batch, size, size, 1]);
      return edmLoss((x, noise, labels: tf.Tensor1D) => model.unet.forward(x, noise, { labels }), { x0, cond }, rng, {
        levels: noiseLevels(logNormalSigmas(recipe.noise), stratified),
        ...(recipe.uncertainty && { logVariance: (noise: tf.Tensor1D) => model.logVariance(noise) }),
      });
    },
    data: { next: async () => stream.rand(batch) },
    rng: stream,
    optimizer,
    learningRate: warmUp(Math.max(1, Math.round(steps / 50)), inverseSqrtRate({ peak, after })),
    averages,
    ...(snapshotEvery !== undefined && { snapshotEvery }),
    hooks: [
      ...(takesNormsOfWeights(model) ? [{ beforeForward: () => layPlain(optimizer.params.values()) }] : []),
      ...(recipe.forcedWeightNormalization ? [{ beforeForward: () => forceWeightNormalization(model) }] : []),
    ],
    from: saved?.step ?? 0,
    until: steps,
    signal,
  });
  for await (const { step, loss, snapshot } of updates) {
    await onStep?.(step, loss, model);
    if (snapshot) {
      for (const sigmaRel of tracked) {
        await writeSnapshot(
          join(folder, 'snapshots'),
          { sigmaRel, time: step * batch },
          await averages[`power-${sigmaRel}`]!.save(),
        );
      }
    }
    if (step % 100 === 0 || step === steps || signal.aborted) {
      await checkpoints.save({ step, model, optimizer, averages, streams: { main: stream }, extra: settings });
    }
  }
  signal.throwIfAborted();
  const states = await Promise.all(tracked.map(async (width) => (await averages[`power-${width}`]!.save()).tensors));
  for (const average of Object.values(averages)) average.dispose();
  optimizer.dispose();
  model.dispose();
  return states;
}

/** What samples are compared by: the Fréchet distance of the classifier's features to those of pictures that were not trained on. */
export interface Judge {
  distance(images: Float32Array): Promise<number>;
}

/** The features of `models/digits-classifier`, which sees the small digits doubled. */
export async function openJudge(classifier = 'models/digits-classifier'): Promise<Judge> {
  if (!existsSync(classifier))
    throw new InvalidArgumentError(classifier, "is not there: run from the repository's root");
  const { model } = await openClassifier(classifier);
  const statistics = async (images: Float32Array) => {
    let all: FeatureStatistics | undefined;
    const per = size * size;
    for (let first = 0; first < images.length; first += 250 * per) {
      const part = images.slice(first, first + 250 * per);
      const n = part.length / per;
      const features = tf.tidy(() => {
        const doubled = tf.image.resizeBilinear(tf.tensor4d(part, [n, size, size, 1]), [28, 28], false, true);
        return model.features(doubled, tf.zeros([n]));
      });
      all ??= new FeatureStatistics(features.shape[1]!);
      all.add({ data: (await features.data()) as Float32Array, count: n, dim: features.shape[1]! });
      features.dispose();
    }
    return all!;
  };
  const { pixels, count } = smallDigits();
  const real = await statistics(pixels.slice((count / 2) * size * size, (count / 2 + 2000) * size * size));
  return { distance: async (images) => frechetDistance(await statistics(images), real) };
}

/** Samples with labels 0 to 9 in turn, Heun from sigma 80 to 0.002; guided away from "no label". */
export async function sampleDigits(
  model: TinyModel,
  { count, steps, guidance, seed }: { count: number; steps: number; guidance: number; seed: number },
): Promise<Float32Array> {
  const sampler = samplerFromProcess(
    { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 },
    { solver: 'heun', limit: { kind: 'clip', range: 1 } },
  );
  const schedule = sampler.schedule({ steps });
  const labels = tf.tensor1d(
    Int32Array.from({ length: count }, (_, i) => i % 10),
    'int32',
  );
  const none = tf.fill([count], noLabel, 'int32') as tf.Tensor1D;
  const plain: Denoiser<tf.Tensor1D> = (x, at, labels) => model.forward(x, tf.fill([count], at.sigma), { labels });
  const guided = guidance === 1 ? plain : classifierFree(plain, { scale: guidance, unconditional: none });
  const noise = new TorchGenerator(seed).randn(count * size * size);
  const x = tf.tidy(() => tf.mul(tf.tensor4d(noise, [count, size, size, 1]), 80) as tf.Tensor4D);
  let last = new Float32Array(0);
  const finished = sampler.finishEstimate(guided);
  for await (const step of run(sampler.solver, finished as never, x, schedule, labels as never, {
    noise: perImageNoise([seed]),
  })) {
    last = Float32Array.from(await step.x.data());
  }
  tf.dispose([x, labels, none]);
  return last;
}

/** Root mean squares of the weights of layers and of the outputs of blocks, averaged over both, for a fixed batch. */
export async function magnitudes(
  model: TinyModel,
): Promise<{ readonly weights: number; readonly activations: number }> {
  const rms = (tensors: readonly tf.Tensor[]) =>
    tf.tidy(() => tf.mean(tf.stack(tensors.map((t) => tf.sqrt(tf.mean(tf.square(t)))))).dataSync()[0]!);
  const weights = [...model.unet.params()].filter(([name, { shape }]) => name.endsWith('weight') && shape.length >= 2);
  const outputs: tf.Tensor[] = [];
  const blocks = [...Object.values(model.unet.enc), ...Object.values(model.unet.dec)] as (Module & {
    forward: unknown;
  })[];
  for (const block of blocks) {
    const own = block.forward as (...inputs: unknown[]) => tf.Tensor;
    const watched = (...inputs: unknown[]) => {
      const output = own.apply(block, inputs);
      outputs.push(tf.keep(tf.clone(output)));
      return output;
    };
    Object.defineProperty(block, 'forward', { value: watched, configurable: true });
  }
  try {
    const { pixels } = smallDigits();
    tf.tidy(() => {
      const clean = tf.tensor4d(pixels.slice(0, 16 * size * size), [16, size, size, 1]);
      const noise = tf.tensor4d(new TorchGenerator(1).randn(clean.size), clean.shape);
      const sigma = tf.fill([16], 0.5) as tf.Tensor1D;
      const labels = tf.fill([16], noLabel, 'int32') as tf.Tensor1D;
      model.forward(tf.add(clean, tf.mul(noise, 0.5)), sigma, { labels });
    });
    return { weights: rms(weights.map(([, param]) => param.value)), activations: rms(outputs) };
  } finally {
    for (const block of blocks) delete (block as { forward?: unknown }).forward;
    tf.dispose(outputs);
  }
}
