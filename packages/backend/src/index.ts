export { ENGINE_NAMES, type EngineFacts, type EngineName } from './engine.js';
export { type EngineReport, listEngines } from './list-engines.js';
export { type ChosenEngine, type PassedOver, type UseBackendOptions, useBackend } from './use-backend.js';
export { registerWasmKernels } from './wasm-kernels/register.js';
