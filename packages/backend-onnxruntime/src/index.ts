import { register } from './register.js';

register();

export { type BackendOptions, type EngineStatistics, OnnxRuntimeBackend } from './backend.js';
export { version } from './native/version.js';
export {
  dequantize,
  type Loadable,
  type LoadQuantizedOptions,
  loadQuantized,
  type Quantizable,
  type QuantizeOptions,
  type QuantizeReport,
  quantize,
  type WeightPrecision,
} from './quantize.js';
export type { EngineOptions } from './session/engine.js';
export { checkProvider, listedProviders } from './session/provider.js';
