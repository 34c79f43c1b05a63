import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import type { RINConfig } from '../../src/index.js';

/** The smallest network that has time and label among the latents. */
export const tinyRIN: RINConfig = {
  imageHeight: 4,
  imageWidth: 4,
  inChannels: 2,
  patchSize: 2,
  blocks: [1, 0],
  latents: 4,
  latentWidth: 8,
  latentMlpRatio: 1.5,
  latentHeads: 2,
  tokenWidth: 16,
  tokenMlpRatio: 1,
  readWriteHeads: 2,
  latentPositions: 'learned',
  tokenPositions: 'learned',
  timeScale: 10,
  timeOn: 'latents',
  labelOn: 'latents',
  writableConditions: false,
  normalizedKeys: false,
  classes: 3,
  selfConditioning: 'latents',
  selfConditioningRate: 0.5,
  dropout: 0,
  dropPath: 0,
};

/** The same with every other choice: conditions among the tokens, fixed positions, both states. */
export const otherRIN: RINConfig = {
  ...tinyRIN,
  ...{ imageWidth: 6, timeOn: 'tokens', labelOn: 'tokens', writableConditions: true, normalizedKeys: true },
  ...{ latentPositions: 'sin-cos', tokenPositions: 'sin-cos-plus-learned', selfConditioning: 'latents-and-tokens' },
  ...{ latentWidth: 16, tokenWidth: 8, blocks: [2] },
};

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.3. */
export async function randomise(model: Module, seed = 1): Promise<void> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    state[name] = { shape: param.fileShape, data: rng.randn(param.size).map((n) => 0.3 * n) };
  }
  await model.load(state);
}
