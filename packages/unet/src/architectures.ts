import type { Preset } from '@mezzotint/core';
import { adm, admUpsampler, noisyClassifier } from './adm/architecture.js';
import type { NoisyClassifier } from './adm/noisy-classifier.js';
import type { ADMUNet } from './adm/unet.js';
import { unet2d, unet2dCondition } from './diffusers/architecture.js';
import type { UNet2D } from './diffusers/unet-2d.js';
import type { UNet2DCondition } from './diffusers/unet-2d-condition.js';
import type { EDM } from './edm.js';
import { edm2AblationArchitecture, edm2Architecture, edmArchitecture } from './edm-architecture.js';
import type { EDM2 } from './edm2.js';
import type { AblationUNet } from './edm2-ablation.js';
import type { SimpleDiffusionUViT } from './simple-diffusion.js';
import { simpleDiffusionUViT } from './simple-diffusion-architecture.js';

/** Every architecture of this package. */
export const architectures = [
  adm,
  admUpsampler,
  noisyClassifier,
  unet2d,
  unet2dCondition,
  edmArchitecture,
  edm2Architecture,
  edm2AblationArchitecture,
  simpleDiffusionUViT,
] as const;

/** Every preset of this package. */
export const presets: readonly Preset<AnyModel>[] = architectures.flatMap(
  ({ presets }): readonly Preset<AnyModel>[] => presets,
);

type AnyModel =
  | ADMUNet
  | UNet2D
  | UNet2DCondition
  | NoisyClassifier
  | EDM
  | EDM2
  | EDM2<AblationUNet>
  | SimpleDiffusionUViT;
