import type { Preset } from '@mezzotint/core';
import type { AutoencoderKL } from '../autoencoder-kl.js';
import type { AutoencoderTiny } from '../tiny/autoencoder-tiny.js';
import type { VQModel } from '../vq/vq-model.js';
import { vaeFlux, vaeSd, vaeSd3, vaeSdxl } from './kl.js';
import { digitsVae, digitsVq } from './small.js';
import { taesd, taesd3 } from './tiny.js';

/** Every preset of this package. */
export const presets: readonly Preset<AutoencoderKL | AutoencoderTiny | VQModel>[] = [
  vaeSd,
  vaeSdxl,
  vaeSd3,
  vaeFlux,
  taesd,
  taesd3,
  digitsVae,
  digitsVq,
];
