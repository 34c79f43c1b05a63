export type { ADMUNetConfig, ClassifierConfig, ClassifierPool, EncoderConfig, HeadRule } from './adm/config.js';
export { classifierFromGuidedDiffusion, fromGuidedDiffusion } from './adm/from-guided-diffusion.js';
export { type ClassifierInputs, NoisyClassifier } from './adm/noisy-classifier.js';
export { type SuperResolutionInputs, SuperResolutionUNet } from './adm/super-resolution-unet.js';
export { ADMUNet, type ADMUNetInputs } from './adm/unet.js';
export { UNet2D, type UNet2DInputs } from './diffusers/unet-2d.js';
export { UNet2DCondition, type UNet2DConditionInputs } from './diffusers/unet-2d-condition.js';
export type { Classes, Depth, UNet2DConditionConfig } from './diffusers/unet-2d-condition-config.js';
export { unet2dConditionFromDiffusers } from './diffusers/unet-2d-condition-from-diffusers.js';
export { unet2dConditionFromShapes } from './diffusers/unet-2d-condition-from-shapes.js';
export { type Resample, type UNet2DConfig, unet2dFromDiffusers } from './diffusers/unet-2d-config.js';
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
export { ddpmCifar10, iddpm64, iddpmCifar10 } from './presets/ddpm.js';
export { presets } from './presets/index.js';
export { benchUnet, digits, digitsClassifier } from './presets/small.js';
export { sd15, sd21, sdxlBase, sdxlRefiner } from './presets/stable-diffusion.js';
