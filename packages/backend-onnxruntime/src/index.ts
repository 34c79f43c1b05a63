import { register } from './register.js';

register();

export { type BackendOptions, type EngineStatistics, OnnxRuntimeBackend } from './backend.js';
export {
  type Freezable,
  type FreezeOptions,
  type FreezeReport,
  freeze,
  type Loadable,
  loadFrozen,
  thaw,
  type WeightFormat,
} from './freeze.js';
export { version } from './native/version.js';
export type { EngineOptions } from './session/engine.js';
export { checkProvider, listedProviders } from './session/provider.js';
