export { deriveSeed } from './derive-seed.js';
export { NumpyRandomState, type NumpyRandomStateSnapshot } from './numpy-random-state.js';
export type { RandomStream } from './random-stream.js';
export { isSeed, type Seed, seedPlus, seedValue } from './seed.js';
export { TorchGenerator, type TorchGeneratorState } from './torch-generator.js';
