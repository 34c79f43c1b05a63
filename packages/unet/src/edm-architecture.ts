import {
  type DataShape,
  type DenoiserArchitecture,
  InvalidArgumentError,
  labelCondition,
  type ModelSize,
  type NetworkSignature,
} from '@mezzotint/core';
import { EDM } from './edm.js';
import { deepestFactor, edmFromOriginal } from './edm-config.js';
import { EDM2, type EDM2Config, edm2, edm2FromOriginal } from './edm2.js';
import { AblationUNet } from './edm2-ablation.js';
import * as edm from './presets/edm.js';

/** EDM's denoiser around DDPM++, NCSN++ or ADM. */
export const edmArchitecture: DenoiserArchitecture<EDM> = {
  kind: 'denoiser',
  name: 'EDM',
  package: '@mezzotint/unet',
  about: "EDM's denoiser around DDPM++, NCSN++ or ADM (Karras et al. 2022)",
  time: 'sigma',
  presets: [
    edm.edmCifar10UncondVp,
    edm.edmCifar10CondVp,
    edm.edmCifar10UncondVe,
    edm.edmCifar10CondVe,
    edm.edmFfhqVp,
    edm.edmFfhqVe,
    edm.edmAfhqv2Vp,
    edm.edmAfhqv2Ve,
    edm.edmImagenet64,
  ],
  build: (config) => new EDM(config),
  attention: ['*.qkv', '*.proj'],
  signature: ({ unet }) => signature(unet),
  sized: (size, data) =>
    edmFromOriginal({ model_type: 'SongUNet', ...sized('EDM', size, data), augment_dim: 0, dropout: 0.1 }),
  references: [{ library: 'edm', className: 'EDMPrecond', config: edmFromOriginal }],
};

/** EDM2's denoiser. */
export const edm2Architecture: DenoiserArchitecture<EDM2> = {
  kind: 'denoiser',
  name: 'EDM2',
  package: '@mezzotint/unet',
  about: "EDM2's denoiser, a magnitude-preserving UNet (Karras et al. 2024)",
  time: 'sigma',
  presets: [
    edm.edm2Img512Xxs,
    edm.edm2Img512Xs,
    edm.edm2Img512S,
    edm.edm2Img512M,
    edm.edm2Img512L,
    edm.edm2Img512Xl,
    edm.edm2Img512Xxl,
    edm.edm2Img512XsUncond,
    edm.edm2Img64Xs,
    edm.edm2Img64S,
    edm.edm2Img64M,
    edm.edm2Img64L,
    edm.edm2Img64Xl,
  ],
  build: (config) => edm2(config as EDM2Config),
  signature: (config) => signature((config as EDM2Config).unet),
  sized(size, data) {
    const original = sized('EDM2', size, data);
    return edm2FromOriginal({
      ...original,
      channels_per_head: Math.min(64, original.model_channels),
      logvar_channels: 128,
    });
  },
  references: [{ library: 'edm2', className: 'Precond', config: edm2FromOriginal }],
};

/** What `small`, `medium` and `large` are. */
const sizes = {
  small: { model_channels: 32, num_blocks: 1, widths: [1, 2, 2] },
  medium: { model_channels: 64, num_blocks: 2, widths: [1, 2, 3, 4] },
  large: { model_channels: 128, num_blocks: 3, widths: [1, 2, 3, 4] },
} as const;

/** Arguments of the reference's classes for data of one's own: as many levels as the size can be halved, attention up to 16 pixels. */
function sized(
  who: string,
  size: ModelSize,
  { imageSize, channels, classes, learnedVariance, contextWidth }: DataShape,
) {
  const problems = [
    ...(learnedVariance ? ['has no channels for a learned variance'] : []),
    ...(contextWidth === undefined ? [] : ['takes labels, not text']),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  const { widths, ...rest } = sizes[size];
  const sides = widths.map((_, level) => imageSize / 2 ** level);
  const levels = sides.filter((side) => Number.isInteger(side) && side >= 4).length || 1;
  return {
    ...rest,
    img_resolution: imageSize,
    img_channels: channels,
    label_dim: classes ?? 0,
    channel_mult: widths.slice(0, levels),
    attn_resolutions: sides.slice(0, levels).filter((side) => side <= 16),
  };
}

type AblationConfig = Omit<EDM2Config, 'unet'> & { readonly unet: AblationUNet['config'] };

/** The networks of EDM2's ablation between ADM and EDM2. */
export const edm2AblationArchitecture: DenoiserArchitecture<EDM2<AblationUNet>> = {
  kind: 'denoiser',
  name: 'EDM2Ablation',
  package: '@mezzotint/unet',
  about: "Networks of EDM2's ablation, configurations A to G (Karras et al. 2024, table 1)",
  time: 'sigma',
  presets: [
    edm.edm2AblationA,
    edm.edm2AblationB,
    edm.edm2AblationC,
    edm.edm2AblationD,
    edm.edm2AblationE,
    edm.edm2AblationF,
    edm.edm2AblationG,
  ],
  build(config) {
    const { unet, ...head } = config as AblationConfig;
    return new EDM2(head, new AblationUNet(unet));
  },
  signature: (config) => signature((config as AblationConfig).unet),
};

/** What the three take: the label `classes` is "no label" in every model with classes. */
function signature(unet: {
  readonly imageSize: number;
  readonly inChannels: number;
  readonly channelMult: readonly number[];
  readonly classes: number | null;
}): NetworkSignature {
  const { imageSize, inChannels, classes } = unet;
  const labels = { classes, nullLabel: classes !== null };
  return {
    ...{ imageSize, inChannels, outChannels: inChannels, ...labels },
    sizeMultiple: deepestFactor({ channelMult: unet.channelMult }),
    conditions: labelCondition(labels),
  };
}
