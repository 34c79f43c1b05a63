import { Module, Param, zeros } from '@mezzotint/core';
import { forceWeightNormalization, MPConv, mpSilu } from '@mezzotint/layers';
import { TorchGenerator } from '@mezzotint/random';
import {
  adam,
  edmLoss,
  ema,
  inverseSqrtRate,
  logNormalSigmas,
  noiseLevels,
  powerFunctionDecay,
  stratified,
  train,
} from '@mezzotint/training';
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

/** How long and how large. */
export interface ToyBudget {
  readonly width: number;
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
}

/**
 * A denoiser of a mixture, trained as EDM2 trains (Adam 0.9, 0.99; ln sigma ~ N(-2.3, 1.5^2); rate 0.01 falling as 1 / sqrt; forced
 * weight normalisation) and averaged over its last hundredth (sigma_rel 0.01).
 */
export async function trainToy(
  mixture: Mixture,
  { width, steps, batch, seed }: ToyBudget,
  onStep: (loss: number) => void,
): Promise<EDM2<ToyNetwork>> {
  const model = new EDM2({ sigmaData: 0.5, logvarChannels: null }, new ToyNetwork(width)).init(seed);
  const levels = noiseLevels(logNormalSigmas({ mean: -2.3, std: 1.5 }), stratified);
  const rng = new TorchGenerator(seed);
  const average = ema(model, powerFunctionDecay(0.01));
  const run = train<Float32Array>({
    loss: ({ batch: points, rng }) => {
      const x0 = tf.tensor4d(points, [batch, 1, 1, 2]);
      return edmLoss((x, noise) => model.unet.forward(x, noise), { x0, cond: undefined }, rng, { levels });
    },
    data: { next: async () => drawPoints(mixture, batch, rng) },
    rng,
    optimizer: adam(model, { betas: [0.9, 0.99] }),
    learningRate: inverseSqrtRate({ peak: 0.01, after: Math.max(steps / 8, 1) }),
    averages: { average },
    hooks: [{ beforeForward: () => forceWeightNormalization(model) }],
    until: steps,
  });
  for await (const { loss } of run) onStep(loss);
  const averaged = new EDM2({ sigmaData: 0.5, logvarChannels: null }, new ToyNetwork(width));
  await averaged.load((await average.save()).tensors);
  average.dispose();
  model.dispose();
  return averaged;
}
