export { architectures, rin } from './architecture.js';
export {
  presets,
  rinCifar10,
  rinImageNet64,
  rinImageNet128,
  rinImageNet256,
  rinImageNet512,
  rinImageNet1024,
} from './presets.js';
export { RIN, type RINInputs, type RINOutput, type RINState, type RINTraining } from './rin.js';
export { type PositionKind, type RINConfig, rinFromOriginal } from './rin-config.js';
export { type WarmStart, warmStarted } from './warm-start.js';
