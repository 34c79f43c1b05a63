import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { UViTConfig } from '../../src/index.js';

/** The smallest network that has every part of a class-conditional one. */
export const tinyUViT: UViTConfig = {
  imageSize: 4,
  patchSize: 2,
  inChannels: 2,
  width: 8,
  depth: 4,
  heads: 2,
  mlpRatio: 1.5,
  qkvBias: true,
  timeMlp: true,
  classes: 3,
  nullLabel: true,
  context: null,
  longSkips: true,
  finalConv: true,
};

/** The smallest network that takes text, without the parts that are optional. */
export const tinyTextUViT: UViTConfig = {
  ...tinyUViT,
  ...{ depth: 2, qkvBias: false, timeMlp: false, classes: null, nullLabel: false, longSkips: false, finalConv: false },
  context: { tokens: 3, width: 5 },
};

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.2. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    state[name] = { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.2 * n) };
  }
  await model.load(state);
}
