import { register } from './register.js';

register();

export { type BackendOptions, type EngineStatistics, OnnxRuntimeBackend } from './backend.js';
export type { EngineOptions } from './session/engine.js';
