import { InvalidArgumentError, Module, Param, zeros } from '@mezzotint/core';
import { forceWeightNormalization, MPConv, mpSilu } from '@mezzotint/layers';
import { TorchGenerator } from '@mezzotint/random';
import {
  adam,
  edmLoss,
  ema,
  inverseSqrtRate,
  layPlain,
  logNormalSigmas,
  noiseLevels,
  powerFunctionDecay,
  stratified,
  train,
} from '@mezzotint/training';
import { CheckpointFolder } from '@mezzotint/training/node';
import { EDM2 } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { drawPoints, type Mixture } from './tree.js';

/** F(x; noise) of points as images of one pixel, `[N, 1, 1, 2]`: magnitude-preserving layers of one width. */
export class ToyNetwork extends Module {
  readonly layers: readonly MPConv[];
  readonly out: MPConv;
  readonly gain: Param;

  constructor(width: number, depth = 4) {
    super();
    this.layers = Array.from({ length: depth }, (_, i) => new MPConv(i === 0 ? 4 : width, width, 0));
    this.out = new MPConv(width, 2, 0);
    this.gain = new Param([], { init: zeros });
  }

  forward(x: tf.Tensor4D, noise: tf.Tensor1D): tf.Tensor4D {
    return tf.tidy(() => {
      const n = x.shape[0];
      const inputs = [tf.reshape(x, [n, 2]), tf.reshape(noise, [n, 1]), tf.ones([n, 1])];
      let h = tf.concat(inputs, 1) as tf.Tensor2D; //                                  [N, 4]
      for (const layer of this.layers) h = mpSilu(layer.forward(h)); //               [N, D]
      return tf.reshape(this.out.forward(h, this.gain.value), x.shape); //            [N, 1, 1, 2]
    });
  }
}

/** How long and how large, and where its checkpoints go. */
export interface ToyBudget {
  readonly folder: string;
  readonly width: number;
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
}

/**
 * A denoiser of a mixture, trained as EDM2 trains (Adam 0.9, 0.99; ln sigma ~ N(-2.3, 1.5^2); rate 0.01 falling as 1 / sqrt; forced
 * weight normalisation) and averaged over its last hundredth (sigma_rel 0.01). Goes on from the last checkpoint of the folder.
 */
export async function trainToy(
  mixture: Mixture,
  { folder, ...settings }: ToyBudget,
  onStep: (step: number) => void,
): Promise<EDM2<ToyNetwork>> {
  const { width, steps, batch, seed } = settings;
  const model = new EDM2({ sigmaData: 0.5, logvarChannels: null }, new ToyNetwork(width)).init(seed);
  const levels = noiseLevels(logNormalSigmas({ mean: -2.3, std: 1.5 }), stratified);
  const averages = { average: ema(model, powerFunctionDecay(0.01)) };
  const optimizer = adam(model, { betas: [0.9, 0.99] });
  const checkpoints = new CheckpointFolder(folder, { keep: 1 });
  const saved = await checkpoints.latest();
  if (saved && JSON.stringify(saved.extra) !== JSON.stringify(settings)) {
    throw new InvalidArgumentError(folder, 'holds a training with other settings; choose another --out, or remove it');
  }
  await saved?.load({ model, optimizer, averages });
  const rng = saved?.streams.main ?? new TorchGenerator(seed);
  const run = train<Float32Array>({
    loss: ({ batch: points, rng }) => {
      const x0 = tf.tensor4d(points, [batch, 1, 1, 2]);
      return edmLoss((x, noise) => model.unet.forward(x, noise), { x0, cond: undefined }, rng, { levels });
    },
    data: { next: async () => drawPoints(mixture, batch, rng) },
    rng,
    optimizer,
    learningRate: inverseSqrtRate({ peak: 0.01, after: Math.max(steps / 8, 1) }),
    averages,
    hooks: [
      { beforeForward: () => layPlain(optimizer.params.values()) },
      { beforeForward: () => forceWeightNormalization(model) },
    ],
    from: saved?.step ?? 0,
    until: steps,
  });
  for await (const { step } of run) {
    if (step % 250 === 0 || step === steps) {
      await checkpoints.save({ step, model, optimizer, averages, streams: { main: rng }, extra: settings });
    }
    onStep(step);
  }
  const averaged = new EDM2({ sigmaData: 0.5, logvarChannels: null }, new ToyNetwork(width));
  await averaged.load((await averages.average.save()).tensors);
  averages.average.dispose();
  optimizer.dispose();
  model.dispose();
  return averaged;
}
