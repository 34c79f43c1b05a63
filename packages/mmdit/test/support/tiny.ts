import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { FluxConfig, MMDiTConfig } from '../../src/index.js';

/** The smallest networks that have every part. */
export const tinyMMDiT: MMDiTConfig = {
  patchSize: 2,
  inChannels: 2,
  outChannels: 3,
  depth: 2,
  width: 8,
  heads: 2,
  mlpRatio: 1.5,
  contextWidth: 6,
  pooledWidth: 5,
  qkNorm: 'rms',
  dualAttentionLayers: [0],
  positionGrid: 4,
  positionBase: 2,
};

export const tinyFlux: FluxConfig = {
  patchSize: 2,
  channels: 2,
  depth: 1,
  singleDepth: 2,
  width: 16,
  heads: 2,
  mlpRatio: 1.5,
  contextWidth: 6,
  pooledWidth: 5,
  qkvBias: true,
  guidanceEmbed: true,
  rotaryAxes: [2, 2, 4],
  rotaryTheta: 100,
};

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
