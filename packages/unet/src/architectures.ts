import type { Preset } from '@mezzotint/core';
import { adm, admUpsampler, noisyClassifier } from './adm/architecture.js';
import type { NoisyClassifier } from './adm/noisy-classifier.js';
import type { UNet } from './adm/unet.js';
import { unet2d, unet2dCondition } from './diffusers/architecture.js';
import type { UNet2D } from './diffusers/unet-2d.js';
import type { UNet2DCondition } from './diffusers/unet-2d-condition.js';

/** Every architecture of this package. */
export const architectures = [adm, admUpsampler, noisyClassifier, unet2d, unet2dCondition] as const;

/** Every preset of this package. */
export const presets: readonly Preset<UNet | UNet2D | UNet2DCondition | NoisyClassifier>[] = architectures.flatMap(
  ({ presets }): readonly Preset<UNet | UNet2D | UNet2DCondition | NoisyClassifier>[] => presets,
);
