import type { Preset } from '@mezzotint/core';
import type { NoisyClassifier } from '../adm/noisy-classifier.js';
import type { ADMUNet } from '../adm/unet.js';
import type { UNet2D } from '../diffusers/unet-2d.js';
import type { UNet2DCondition } from '../diffusers/unet-2d-condition.js';
import {
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
} from './adm.js';
import { ddpmCifar10, iddpm64, iddpmCifar10 } from './ddpm.js';
import { benchUnet, digits, digitsClassifier } from './small.js';
import { sd15, sd21, sdxlBase, sdxlRefiner } from './stable-diffusion.js';

/** Every preset of this package. */
export const presets: readonly Preset<ADMUNet | UNet2D | UNet2DCondition | NoisyClassifier>[] = [
  adm64,
  adm128,
  adm256,
  adm256Uncond,
  adm512,
  adm64To256Upsampler,
  adm128To512Upsampler,
  admClassifier64,
  admClassifier128,
  admClassifier256,
  admClassifier512,
  ddpmCifar10,
  iddpmCifar10,
  iddpm64,
  sd15,
  sd21,
  sdxlBase,
  sdxlRefiner,
  digits,
  digitsClassifier,
  benchUnet,
];
