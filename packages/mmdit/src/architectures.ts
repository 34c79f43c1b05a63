import { type ConditionSpec, type DenoiserArchitecture, type Preset, sizedPatch, throwIf } from '@mezzotint/core';
import { Flux } from './flux.js';
import { fluxFromDiffusers, fluxFromShapes } from './flux-config.js';
import { MMDiT } from './mmdit.js';
import { type MMDiTConfig, mmditFromDiffusers, mmditFromShapes } from './mmdit-config.js';
import { fluxDev, fluxSchnell } from './presets/flux.js';
import { mmdit15, mmdit18, mmdit21, mmdit30, mmdit38, sd3Medium, sd35Large, sd35Medium } from './presets/mmdit.js';

/** Tokens of a text where a configuration does not say: CLIP's 77 and T5's 77 (SD3), and T5's 512 (FLUX.1). */
const tokens = { mmdit: 154, flux: 512 } as const;

/** What `small`, `medium` and `large` are (15, 43 and 290 million parameters), and patches of the image a side at most. */
const mmditSizes = {
  small: { width: 256, depth: 6, heads: 4, patches: 8 },
  medium: { width: 384, depth: 8, heads: 6, patches: 16 },
  large: { width: 768, depth: 14, heads: 12, patches: 16 },
} as const;

/** MM-DiT: Stable Diffusion 3 and 3.5. */
export const mmdit: DenoiserArchitecture<MMDiT> = {
  kind: 'denoiser',
  name: 'MMDiT',
  package: '@mezzotint/mmdit',
  about: 'Multimodal diffusion transformer of Stable Diffusion 3 and 3.5 (Esser et al. 2024)',
  time: 'timestep',
  presets: [mmdit15, mmdit18, mmdit21, sd3Medium, sd35Medium, mmdit30, mmdit38, sd35Large],
  build: (config) => new MMDiT(config),
  signature: ({ patchSize, inChannels, outChannels, contextWidth, pooledWidth, positionGrid }) => ({
    ...{ inChannels, outChannels, imageSize: null, sizeMultiple: patchSize, maxImageSize: patchSize * positionGrid },
    ...{ classes: null, nullLabel: false },
    conditions: text(tokens.mmdit, contextWidth, pooledWidth),
  }),
  sized(size, { imageSize, channels, contextWidth, pooledWidth = contextWidth, learnedVariance }): MMDiTConfig {
    throwIf('MMDiT', [
      ...(contextWidth === undefined ? ['reads texts: expected captioned pictures and a text encoder'] : []),
      ...(learnedVariance ? ['has no channels for a learned variance'] : []),
    ]);
    const { patches, ...sizes } = mmditSizes[size];
    const patchSize = sizedPatch('MMDiT', imageSize, { most: patches });
    const side = imageSize / patchSize;
    return {
      ...{ patchSize, inChannels: channels, outChannels: channels, ...sizes, mlpRatio: 4 },
      ...{ contextWidth: contextWidth!, pooledWidth: pooledWidth!, qkNorm: 'rms', dualAttentionLayers: [] },
      // Room for pictures of another shape and for larger ones.
      ...{ positionGrid: 2 * side, positionBase: side },
    };
  },
  references: [
    {
      library: 'diffusers',
      className: 'SD3Transformer2DModel',
      config: mmditFromDiffusers,
      inputs: { x: 'hidden_states', time: 'timestep', context: 'encoder_hidden_states', pooled: 'pooled_projections' },
      output: 'sample',
    },
  ],
  fromShapes: mmditFromShapes,
};

/** FLUX.1. */
export const flux: DenoiserArchitecture<Flux> = {
  kind: 'denoiser',
  name: 'Flux',
  package: '@mezzotint/mmdit',
  about: 'Rectified-flow transformer FLUX.1 (Black Forest Labs 2024)',
  time: 'unit',
  presets: [fluxSchnell, fluxDev],
  build: (config) => new Flux(config),
  signature: ({ patchSize, channels, contextWidth, pooledWidth, guidanceEmbed }) => ({
    ...{ inChannels: channels, outChannels: channels, imageSize: null, sizeMultiple: patchSize },
    ...{ classes: null, nullLabel: false },
    conditions: {
      ...text(tokens.flux, contextWidth, pooledWidth),
      ...(guidanceEmbed && { guidance: { shape: [] } }),
    },
  }),
  references: [{ library: 'diffusers', className: 'FluxTransformer2DModel', config: fluxFromDiffusers }],
  fromShapes: fluxFromShapes,
};

/** Every architecture of this package. */
export const architectures = [mmdit, flux] as const;

/** Every preset of this package. */
export const presets: readonly Preset<MMDiT | Flux>[] = architectures.flatMap(
  ({ presets }): readonly Preset<MMDiT | Flux>[] => presets,
);

function text(tokens: number, contextWidth: number, pooledWidth: number): Readonly<Record<string, ConditionSpec>> {
  return {
    context: { shape: [tokens, contextWidth], none: 'empty-prompt' },
    pooled: { shape: [pooledWidth], none: 'empty-prompt' },
  };
}
