import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { AutoencoderKLConfig, AutoencoderTinyConfig, CoderConfig, VQModelConfig } from '../../src/index.js';

/** The smallest coder that has every part; f = 2. */
export const tinyCoder: CoderConfig = {
  inChannels: 2,
  outChannels: 2,
  blockChannels: [4, 8],
  layersPerBlock: 1,
  latentChannels: 3,
  groups: 2,
  midAttention: true,
};

export const tinyKL: AutoencoderKLConfig = {
  ...tinyCoder,
  quantConv: true,
  postQuantConv: true,
  scalingFactor: 0.5,
  shiftFactor: 0.25,
};

export const tinyVQ: VQModelConfig = { ...tinyCoder, codes: 5, codeWidth: 2, scalingFactor: 1, shiftFactor: 0 };

export const tinyTiny: AutoencoderTinyConfig = {
  inChannels: 2,
  outChannels: 2,
  latentChannels: 3,
  encoderChannels: 4,
  decoderChannels: 4,
  encoderBlocks: [1, 1],
  decoderBlocks: [1, 1],
  latentMagnitude: 3,
  latentShift: 0.5,
  scalingFactor: 1,
  shiftFactor: 0,
};

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.2, scales of norms around 1. */
export async function randomise(model: Module, seed = 1, deviation = 0.2): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    const isScale = param.fileShape.length === 1 && name.endsWith('weight');
    const data = rng.randn(param.size).map((n) => (isScale ? 1 + 0.1 * n : deviation * n));
    state[name] = { shape: param.fileShape, data };
  }
  await model.load(state);
}

/** Seeded normals. */
export function noise(shape: [number, number, number, number], seed = 2): tf.Tensor4D {
  return tf.tensor4d(new TorchGenerator(seed).randn(shape.reduce((n, d) => n * d, 1)), shape);
}
