export { adm, admUpsampler, noisyClassifier } from './adm/architecture.js';
export type { ADMUNetConfig, ClassifierConfig, ClassifierPool, EncoderConfig, HeadRule } from './adm/config.js';
export { classifierFromGuidedDiffusion, fromGuidedDiffusion } from './adm/from-guided-diffusion.js';
export { type ADMFileSettings, admFromShapes, noisyClassifierFromShapes, publishedADM } from './adm/from-shapes.js';
export { type ClassifierInputs, NoisyClassifier } from './adm/noisy-classifier.js';
export {
  type SuperResolutionConfig,
  type SuperResolutionInputs,
  SuperResolutionUNet,
} from './adm/super-resolution-unet.js';
export { ADMUNet, type ADMUNetInputs } from './adm/unet.js';
export { architectures, presets } from './architectures.js';
export { unet2d, unet2dCondition } from './diffusers/architecture.js';
export { UNet2D, type UNet2DInputs } from './diffusers/unet-2d.js';
export { UNet2DCondition, type UNet2DConditionInputs } from './diffusers/unet-2d-condition.js';
export type { Classes, Depth, UNet2DConditionConfig } from './diffusers/unet-2d-condition-config.js';
export { unet2dConditionFromDiffusers } from './diffusers/unet-2d-condition-from-diffusers.js';
export { unet2dConditionFromShapes } from './diffusers/unet-2d-condition-from-shapes.js';
export { type Resample, type UNet2DConfig, unet2dFromDiffusers } from './diffusers/unet-2d-config.js';
export { DhariwalUNet, EDM, type EDMInputs, SongUNet } from './edm.js';
export { edm2AblationArchitecture, edm2Architecture, edmArchitecture } from './edm-architecture.js';
export {
  type DhariwalUNetConfig,
  type EDMConfig,
  type EDMUNetConfig,
  edmFromOriginal,
  type SongUNetConfig,
} from './edm-config.js';
export {
  EDM2,
  type EDM2Config,
  type EDM2Inputs,
  EDM2UNet,
  type EDM2UNetConfig,
  edm2,
  edm2FromOriginal,
  type PreconditionedNetwork,
} from './edm2.js';
export {
  type AblationConfig,
  type AblationName,
  type AblationRecipe,
  type AblationSteps,
  AblationUNet,
  type AblationUNetConfig,
  ablation,
} from './edm2-ablation.js';
export {
  adm64,
  adm64To256Upsampler,
  adm128,
  adm128To512Upsampler,
  adm256,
  adm256Uncond,
  adm512,
  admClassifier64,
  admClassifier128,
  admClassifier256,
  admClassifier512,
} from './presets/adm.js';
export {
  ddpmCifar10,
  iddpm64,
  iddpm64Cond,
  iddpm64To256Upsampler,
  iddpmCifar10,
  iddpmLsun256,
} from './presets/ddpm.js';
export { ifIIL, ifIL, ifIM, ifIXl } from './presets/deepfloyd-if.js';
export {
  edm2AblationA,
  edm2AblationB,
  edm2AblationC,
  edm2AblationD,
  edm2AblationE,
  edm2AblationF,
  edm2AblationG,
  edm2Img64L,
  edm2Img64M,
  edm2Img64S,
  edm2Img64Xl,
  edm2Img64Xs,
  edm2Img512L,
  edm2Img512M,
  edm2Img512S,
  edm2Img512Xl,
  edm2Img512Xs,
  edm2Img512XsUncond,
  edm2Img512Xxl,
  edm2Img512Xxs,
  edmAfhqv2Ve,
  edmAfhqv2Vp,
  edmCifar10CondVe,
  edmCifar10CondVp,
  edmCifar10UncondVe,
  edmCifar10UncondVp,
  edmFfhqVe,
  edmFfhqVp,
  edmImagenet64,
} from './presets/edm.js';
export {
  simpleDiffusionUViT128,
  simpleDiffusionUViT256,
  simpleDiffusionUViT512,
} from './presets/simple-diffusion.js';
export { benchUnet, digits, digitsClassifier, smallUpsampler64 } from './presets/small.js';
export { sd15, sd21, sdxlBase, sdxlRefiner } from './presets/stable-diffusion.js';
export { SimpleDiffusionUViT, type SimpleDiffusionUViTInputs } from './simple-diffusion.js';
export { simpleDiffusionUViT } from './simple-diffusion-architecture.js';
export type { SimpleDiffusionLevel, SimpleDiffusionUViTConfig } from './simple-diffusion-config.js';
