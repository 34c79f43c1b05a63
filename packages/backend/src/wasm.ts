export type { EngineFacts } from './engine.js';
export { type UseWasmOptions, useWasm } from './engines/start-wasm.js';
export { registerWasmKernels } from './wasm-kernels/register.js';
