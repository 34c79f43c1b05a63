export { architectures, dit, presets } from './architecture.js';
export { DiT, type DiTInputs } from './dit.js';
export { type DiTConfig, ditFromDiffusers, ditFromOriginal } from './dit-config.js';
export { type DiTFileSettings, ditFromShapes } from './from-shapes.js';
export {
  ditB2,
  ditB4,
  ditB8,
  ditL2,
  ditL4,
  ditL8,
  ditS2,
  ditS4,
  ditS8,
  ditXl2,
  ditXl2At512,
  ditXl4,
  ditXl8,
} from './presets/dit.js';
