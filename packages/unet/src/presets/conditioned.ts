import type { InputSpec, Preset } from '@mezzotint/core';
import { UNet2DCondition } from '../diffusers/unet-2d-condition.js';
import type { UNet2DConditionConfig } from '../diffusers/unet-2d-condition-config.js';

/** Tokens of CLIP's texts, and what IF's makers cut a prompt to. */
const TOKENS = 77;

/** A published size of `UNet2DCondition`. */
export function conditionedPreset(
  name: string,
  about: string,
  config: UNet2DConditionConfig,
  size: number,
  more: Readonly<Record<string, InputSpec>> = {},
): Preset<UNet2DCondition> {
  return {
    name,
    about,
    config,
    build: () => new UNet2DCondition(config),
    inputs: () => [
      { shape: [1, size, size, config.inChannels] },
      { shape: [1] },
      { context: { shape: [1, TOKENS, config.textWidth ?? config.contextWidth] }, ...more },
    ],
  };
}
