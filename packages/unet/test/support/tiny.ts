import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { ClassifierConfig, UNetConfig } from '../../src/index.js';

const encoder = {
  imageSize: 8,
  inChannels: 2,
  modelChannels: 8,
  channelMult: [1, 2],
  resBlocks: 1,
  attentionFactors: [2],
  heads: { channels: 4 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'residual',
  groups: 4,
  dropout: 0,
} as const;

/** The smallest network that has every part. */
export const tinyUNet: UNetConfig = { ...encoder, outChannels: 4, headsUp: { channels: 4 }, classes: 3 };

export const tinyClassifier: ClassifierConfig = { ...encoder, pool: 'attention', classes: 5 };

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.2, scales of norms around 1. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    const isScale = param.fileShape.length === 1 && name.endsWith('weight');
    const data = rng.randn(param.size).map((n) => (isScale ? 1 + 0.1 * n : 0.2 * n));
    state[name] = { shape: param.fileShape, data };
  }
  await model.load(state);
}
