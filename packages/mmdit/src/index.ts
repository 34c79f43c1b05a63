export { architectures, flux, mmdit, presets } from './architectures.js';
export { Flux, type FluxInputs, type FluxPositions } from './flux.js';
export { type FluxConfig, fluxFromDiffusers, fluxFromOriginal, fluxFromShapes } from './flux-config.js';
export { MMDiT, type MMDiTInputs } from './mmdit.js';
export { type MMDiTConfig, mmditFromDiffusers, mmditFromOriginal, mmditFromShapes } from './mmdit-config.js';
export { fluxDev, fluxSchnell } from './presets/flux.js';
export { mmdit15, mmdit18, mmdit21, mmdit30, mmdit38, sd3Medium, sd35Large, sd35Medium } from './presets/mmdit.js';
