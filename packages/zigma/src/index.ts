export { architectures, zigma } from './architecture.js';
export { Mamba, type MambaConfig } from './mamba.js';
export * from './presets.js';
export { hilbertPaths, inversePath, type ScanPath, zigzagPaths } from './scan-paths.js';
export { ZigMa, type ZigMaInputs } from './zigma.js';
export { type ZigMaConfig, zigmaFromOriginal, zigmaFromShapes } from './zigma-config.js';
