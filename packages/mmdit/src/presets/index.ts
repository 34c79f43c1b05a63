import type { Preset } from '@mezzotint/core';
import type { Flux } from '../flux.js';
import type { MMDiT } from '../mmdit.js';
import { fluxDev, fluxSchnell } from './flux.js';
import { mmdit15, mmdit18, mmdit21, mmdit30, mmdit38, sd3Medium, sd35Large, sd35Medium } from './mmdit.js';

/** Every preset of this package. */
export const presets: readonly Preset<MMDiT | Flux>[] = [
  sd3Medium,
  sd35Medium,
  sd35Large,
  mmdit15,
  mmdit18,
  mmdit21,
  mmdit30,
  mmdit38,
  fluxDev,
  fluxSchnell,
];
