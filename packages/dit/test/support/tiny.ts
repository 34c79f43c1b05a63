import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { DiTConfig } from '../../src/index.js';

/** The smallest network that has every part. */
export const tinyDiT: DiTConfig = {
  imageSize: 4,
  patchSize: 2,
  inChannels: 2,
  outChannels: 4,
  width: 8,
  depth: 2,
  heads: 2,
  mlpRatio: 1.5,
  classes: 3,
  nullLabel: true,
  qkvBias: true,
  epsilon: 1e-6,
  mlpEpsilon: 1e-5,
  frequencyShift: 0,
  embedders: 'shared',
  otherSizes: 'refused',
};

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.2; frozen ones stay. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  const fresh = await model.init(0).save();
  for (const [name, param] of model.params()) {
    const data = rng.randn(param.size).map((n) => 0.2 * n);
    state[name] = param.trainable ? { shape: param.fileShape, data } : fresh[name]!;
  }
  await model.load(state);
}
