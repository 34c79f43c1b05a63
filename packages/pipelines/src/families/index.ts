import type { Family } from '../family.js';
import { edm2Family, edmFamily } from './edm.js';
import { stableDiffusion } from './stable-diffusion/family.js';

/** Every family, in the order in which they are asked whether they know a model. A new one is a file and a line here. */
export const families: readonly Family[] = [stableDiffusion, edmFamily, edm2Family];
