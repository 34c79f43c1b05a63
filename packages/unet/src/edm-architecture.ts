import { type DenoiserArchitecture, labelCondition, type NetworkSignature } from '@mezzotint/core';
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
  signature: ({ unet }) => signature(unet),
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
  references: [{ library: 'edm2', className: 'Precond', config: edm2FromOriginal }],
};

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
