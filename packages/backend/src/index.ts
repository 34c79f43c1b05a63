export { ENGINE_NAMES, type EngineChoice, type EngineFacts, type EngineName } from './engine.js';
export { type EngineReport, type ListEnginesOptions, listEngines } from './list-engines.js';
export { type ChosenEngine, type PassedOver, type UseBackendOptions, useBackend } from './use-backend.js';
export { registerWasmKernels } from './wasm-kernels/register.js';
