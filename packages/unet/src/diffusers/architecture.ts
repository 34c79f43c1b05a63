import { type ConditionSpec, type DenoiserArchitecture, labelCondition, throwIf } from '@mezzotint/core';
import { ddpmCifar10 } from '../presets/ddpm.js';
import { ifIIL, ifIL, ifIM, ifIXl } from '../presets/deepfloyd-if.js';
import { sd15, sd21, sdxlBase, sdxlRefiner } from '../presets/stable-diffusion.js';
import { UNet2D } from './unet-2d.js';
import { sizeMultipleOf, UNet2DCondition } from './unet-2d-condition.js';
import type { UNet2DConditionConfig } from './unet-2d-condition-config.js';
import { unet2dConditionFromDiffusers } from './unet-2d-condition-from-diffusers.js';
import { unet2dConditionFromShapes } from './unet-2d-condition-from-shapes.js';
import { classTable, type UNet2DConfig, unet2dFromDiffusers } from './unet-2d-config.js';

/** DDPM's UNet in diffusers' layout. */
export const unet2d: DenoiserArchitecture<UNet2D> = {
  kind: 'denoiser',
  name: 'UNet2D',
  package: '@mezzotint/unet',
  about: "UNet of DDPM (Ho et al. 2020) in the layout of diffusers' UNet2DModel",
  time: 'timestep',
  presets: [ddpmCifar10],
  build: (config) => new UNet2D(config),
  attention: ['*attentions*'],
  signature(config) {
    const { inChannels, outChannels, blockChannels, nullLabel } = config;
    const labels = { classes: classTable(config), nullLabel };
    return {
      ...{ inChannels, outChannels, ...labels },
      imageSize: null,
      sizeMultiple: 2 ** (blockChannels.length - 1),
      conditions: { ...labelCondition(labels), ...unet2dConditions(config) },
    };
  },
  references: [
    {
      library: 'diffusers',
      className: 'UNet2DModel',
      config: unet2dFromDiffusers,
      inputs: { x: 'sample', time: 'timestep', labels: 'class_labels' },
      output: 'sample',
    },
  ],
};

/** What `small`, `medium` and `large` are: width at full resolution, multiples of it by level, residual blocks of a level. */
const conditionSizes = {
  small: { width: 64, multiples: [1, 2, 2], resBlocks: 1 },
  medium: { width: 96, multiples: [1, 2, 3, 4], resBlocks: 2 },
  large: { width: 192, multiples: [1, 2, 3, 4], resBlocks: 2 },
} as const;

/** Least pixels a side of a sized network's coarsest level, and most of a level whose pixels attend. */
const [coarsest, mostAttention] = [4, 16];

/** Stable Diffusion's UNet in diffusers' layout. */
export const unet2dCondition: DenoiserArchitecture<UNet2DCondition> = {
  kind: 'denoiser',
  name: 'UNet2DCondition',
  package: '@mezzotint/unet',
  about:
    'UNet of Stable Diffusion 1, 2, XL and its refiner (Rombach et al. 2022; Podell et al. 2023), and of DeepFloyd IF',
  time: 'timestep',
  presets: [sd15, sd21, sdxlBase, sdxlRefiner, ifIXl, ifIL, ifIM, ifIIL],
  build: (config) => new UNet2DCondition(config),
  attention: ['*attentions*.to_*', '*attentions*.add_*'],
  signature(config) {
    const { inChannels, outChannels } = config;
    return {
      ...{ inChannels, outChannels },
      imageSize: null,
      sizeMultiple: sizeMultipleOf(config),
      ...{ classes: null, nullLabel: false },
      conditions: textConditions(config),
    };
  },
  sized(size, { imageSize, channels, classes, contextWidth, learnedVariance }): UNet2DConditionConfig {
    throwIf('UNet2DCondition', [
      ...(contextWidth === undefined && classes !== null
        ? ['has no labels: give it texts, or choose ADMUNet or DiT']
        : []),
      ...(contextWidth === undefined && classes === null
        ? ['reads texts: expected captioned pictures and a text encoder']
        : []),
    ]);
    const { width, multiples, resBlocks } = conditionSizes[size];
    const levels = multiples.filter((_, level) => imageSize % 2 ** level === 0 && imageSize / 2 ** level >= coarsest);
    const each = <T>(value: (level: number) => T) => levels.map((_, level) => value(level));
    const attends = each((level) => imageSize / 2 ** level <= mostAttention);
    const blockChannels = levels.map((multiple) => multiple * width);
    return {
      ...sd15.config,
      ...{ inChannels: channels, outChannels: learnedVariance ? 2 * channels : channels, blockChannels },
      ...{ resBlocks: each(() => resBlocks), downAttention: attends, upAttention: attends },
      ...{ downResample: each(() => 'conv' as const), upResample: each(() => 'conv' as const) },
      ...{ heads: blockChannels.map((channelsOfLevel) => channelsOfLevel / 32), depth: each(() => 1) },
      ...{ onlyCrossAttention: each(() => false), linearProjection: true, contextWidth: contextWidth! },
    };
  },
  references: [
    {
      library: 'diffusers',
      className: 'UNet2DConditionModel',
      config: unet2dConditionFromDiffusers,
      inputs: {
        x: 'sample',
        time: 'timestep',
        context: 'encoder_hidden_states',
        pooled: 'text_embeds',
        timeIds: 'time_ids',
        timeCondition: 'timestep_cond',
        labels: 'class_labels',
        vector: 'class_labels',
      },
      output: 'sample',
    },
  ],
  fromShapes: unet2dConditionFromShapes,
};

/** What stands for classes where they are no table: a number that goes the way of the time, or a vector. */
function unet2dConditions({ classes, timeWidth, blockChannels }: UNet2DConfig): Record<string, ConditionSpec> {
  if (classes === 'time') return { labels: { shape: [] } };
  return classes === 'vector' ? { vector: { shape: [timeWidth ?? 4 * blockChannels[0]!] } } : {};
}

/** Tokens of a CLIP text, and the width of OpenCLIP ViT-bigG's pooled text. */
const tokens = 77;
const pooledWidth = 1280;

function textConditions(config: UNet2DConditionConfig): Record<string, ConditionSpec> {
  const { contextWidth, textWidth, textTime, timeCondProjDim } = config;
  return {
    context: { shape: [tokens, textWidth ?? contextWidth], none: 'empty-prompt' },
    ...(textTime !== null && textTimeConditions(textTime)),
    ...classCondition(config),
    ...(timeCondProjDim !== null && { timeCondition: { shape: [timeCondProjDim] } }),
  };
}

/** SDXL's base has six numbers and its refiner five, which the width of both together tells where the text is bigG's. */
function textTimeConditions({ width, numberWidth }: NonNullable<UNet2DConditionConfig['textTime']>) {
  const numbers = width === pooledWidth + 5 * numberWidth ? 5 : 6;
  const pooled: ConditionSpec = { shape: [width - numbers * numberWidth], none: 'empty-prompt' };
  return { pooled, timeIds: { shape: [numbers] } };
}

function classCondition({ classes, timeWidth, blockChannels }: UNet2DConditionConfig): Record<string, ConditionSpec> {
  if (classes === null) return {};
  if (classes === 'time') return { labels: { shape: [] } };
  if (classes === 'vector') return { vector: { shape: [timeWidth ?? 4 * blockChannels[0]!] } };
  if ('table' in classes) return { labels: { shape: [], dtype: 'int32' } };
  return { vector: { shape: ['vector' in classes ? classes.vector : classes.linear] } };
}
