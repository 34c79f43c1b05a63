import type { Preset } from '@mezzotint/core';
import { Flux } from '../flux.js';
import { fluxFromDiffusers } from '../flux-config.js';

/** FLUX.1 dev (12 billion parameters), which is told the guidance scale. */
export const fluxDev = preset('flux.1-dev', 'guidance scale as an input', true);
/** FLUX.1 schnell, which samples in 1 to 4 steps without guidance. */
export const fluxSchnell = preset('flux.1-schnell', 'for 1 to 4 steps', false);

function preset(name: string, about: string, guidanceEmbed: boolean): Preset<Flux> {
  const config = { ...fluxFromDiffusers({}), guidanceEmbed };
  const guidance = guidanceEmbed ? { guidance: { shape: [1] } } : {};
  return {
    name,
    about: `FLUX.1 ${name.slice(7)}, ${about}, 1024x1024 (Black Forest Labs 2024)`,
    config,
    build: () => new Flux(config),
    inputs: () => [
      { shape: [1, 128, 128, config.channels] },
      { shape: [1] },
      { context: { shape: [1, 512, config.contextWidth] }, pooled: { shape: [1, config.pooledWidth] }, ...guidance },
    ],
  };
}
