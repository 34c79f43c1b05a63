import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { ZigMaConfig } from '../../src/index.js';

/** The smallest network that has labels, a null label and several paths. */
export const tinyZigMa: ZigMaConfig = {
  imageSize: 6,
  patchSize: 2,
  inChannels: 2,
  width: 8,
  depth: 3,
  mixer: 'mamba',
  expansion: 2,
  states: 3,
  taps: 4,
  headWidth: null,
  scan: 'hilbert',
  paths: 2,
  positions: 'learned',
  classes: 3,
  nullLabel: true,
  context: null,
  epsilon: 1e-5,
  dropPath: 0,
};

/** Both directions, without conditions and positions. */
export const tinyBidirectional: ZigMaConfig = {
  ...tinyZigMa,
  ...{ depth: 1, scan: 'bidirectional', paths: null, positions: 'sin-cos', classes: null, nullLabel: false },
};

/** The mixer of Mamba-2, in both directions. */
export const tinyMamba2: ZigMaConfig = { ...tinyBidirectional, mixer: 'mamba-2', headWidth: 4, depth: 2 };

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.3; frozen ones stay. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  const fresh = await model.init(0).save();
  for (const [name, param] of model.params()) {
    const data = rng.randn(param.size).map((n) => 0.3 * n);
    state[name] = param.trainable ? { shape: param.fileShape, data } : fresh[name]!;
  }
  await model.load(state);
}
