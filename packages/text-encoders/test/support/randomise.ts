import { type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';

/** Weights where nothing is zero, so that every parameter matters: normals of deviation 0.3, scales of norms around 1. */
export async function randomise<M extends Module>(model: M, seed = 1): Promise<M> {
  const rng = new TorchGenerator(seed);
  const state: Record<string, HostTensor> = {};
  for (const [name, param] of model.params()) {
    const isScale = param.fileShape.length === 1 && name.includes('norm') && name.endsWith('weight');
    const data = rng.randn(param.size).map((n) => (isScale ? 1 + 0.1 * n : 0.3 * n));
    state[name] = { shape: param.fileShape, data };
  }
  return model.load(state);
}
