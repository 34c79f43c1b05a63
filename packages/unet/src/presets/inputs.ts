import type { InputArgument, InputSpec } from '@mezzotint/core';
import type { ADMUNetConfig, EncoderConfig } from '../adm/config.js';

/** One image at the configuration's size, one time, and what else the model is conditioned on. */
export function unetInputs(config: ADMUNetConfig, more: Readonly<Record<string, InputSpec>> = {}): InputArgument[] {
  const labels = config.classes === null ? undefined : ({ shape: [1], dtype: 'int32' } as const);
  return [...classifierInputs(config), { ...(labels && { labels }), ...more }];
}

/** One image at the configuration's size and one time. */
export function classifierInputs({ imageSize, inChannels }: EncoderConfig): InputArgument[] {
  return [{ shape: [1, imageSize, imageSize, inChannels] }, { shape: [1] }];
}
