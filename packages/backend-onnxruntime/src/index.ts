import { register } from './register.js';

register();

export { type BackendOptions, type EngineStatistics, OnnxRuntimeBackend } from './backend.js';
export { type Freezable, type FreezeOptions, type FreezeReport, freeze, type WeightFormat } from './freeze.js';
export type { EngineOptions } from './session/engine.js';
export { type CallOptions, EngineWorker, serveEngine } from './worker/engine-worker.js';
export type { WorkerContext } from './worker/protocol.js';
