import type { Module } from '@mezzotint/core';
import { presets, type UNet } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';

/** A network that engines are timed on, with inputs of a fixed batch. */
export interface BenchNetwork {
  readonly model: Module;
  /** One forward pass; the answer is the caller's. */
  forward(): tf.Tensor;
  /** A scalar to take gradients of: the mean square of the answer. */
  loss(): tf.Scalar;
}

/** What `pnpm bench --network` takes: preset and batch size. */
export const networks = {
  unet: { preset: 'bench-unet', batch: 8, about: 'ADM UNet, 6.95 M parameters, 8x32x32x3' },
  digits: { preset: 'digits', batch: 64, about: 'the digits UNet, 0.74 M parameters, 64x28x28x1' },
} as const;

export type NetworkName = keyof typeof networks;

/** Builds a network with seeded weights and inputs on the current engine. */
export function buildNetwork(name: NetworkName): BenchNetwork {
  const { preset, batch } = networks[name];
  const model = presets
    .find((p) => p.name === preset)!
    .build()
    .init(0) as UNet;
  const { imageSize, inChannels, classes } = model.config;
  const x = tf.randomNormal([batch, imageSize, imageSize, inChannels], 0, 1, 'float32', 0) as tf.Tensor4D;
  const time = tf.linspace(1, 999, batch) as tf.Tensor1D;
  const inputs = classes === null ? {} : { labels: tf.zeros([batch], 'int32') as tf.Tensor1D };
  const forward = () => model.forward(x, time, inputs);
  return { model, forward, loss: () => tf.tidy(() => tf.mean(tf.square(forward()))) };
}
