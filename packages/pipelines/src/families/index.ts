import type { Family } from '../family.js';
import { cascadeFamily } from './cascade.js';
import { admFamily } from './classes/adm.js';
import { ddpm } from './classes/ddpm.js';
import { ditFamily } from './classes/dit.js';
import { ownModel } from './classes/own-model.js';
import { deepFloydIf } from './deepfloyd-if.js';
import { edm2Family, edmFamily } from './edm.js';
import { flux } from './mmdit/flux.js';
import { stableDiffusion3 } from './mmdit/sd3.js';
import { stableDiffusion } from './stable-diffusion/family.js';
import { uvitFamily } from './uvit.js';
import { zigmaFamily } from './zigma.js';

/** Every family, in the order in which they are asked whether they know a model. A new one is a file and a line here. */
export const families: readonly Family[] = [
  deepFloydIf,
  stableDiffusion,
  stableDiffusion3,
  flux,
  edmFamily,
  edm2Family,
  cascadeFamily,
  ownModel,
  ddpm,
  ditFamily,
  admFamily,
  uvitFamily,
  zigmaFamily,
];
