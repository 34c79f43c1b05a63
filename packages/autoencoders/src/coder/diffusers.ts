import { InvalidArgumentError } from '@mezzotint/core';
import type { CoderConfig } from './config.js';

/** The keys that diffusers' configurations of these autoencoders share, with their defaults there. */
export const coderDefaults = {
  in_channels: 3,
  out_channels: 3,
  down_block_types: ['DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D'],
  block_out_channels: [64],
  layers_per_block: 1,
  norm_num_groups: 32,
  mid_block_add_attention: true,
};

/** The nominal size and the choice of half precision change nothing here; names with an underscore are diffusers' own notes. */
export const ignoredKey = (key: string): boolean =>
  key === 'sample_size' || key === 'force_upcast' || key.startsWith('_');

/** The shared part of a configuration. Throws InvalidArgumentError for blocks that are not the plain ones. */
export function coderFromDiffusers(who: string, read: (key: string) => unknown): CoderConfig {
  const blockChannels = read('block_out_channels') as number[];
  const problems = [
    ...blockProblems('down_block_types', read('down_block_types'), 'DownEncoderBlock2D', blockChannels),
    ...blockProblems('up_block_types', read('up_block_types'), 'UpDecoderBlock2D', blockChannels),
  ];
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  return {
    inChannels: read('in_channels') as number,
    outChannels: read('out_channels') as number,
    blockChannels,
    layersPerBlock: read('layers_per_block') as number,
    latentChannels: read('latent_channels') as number,
    groups: read('norm_num_groups') as number,
    midAttention: read('mid_block_add_attention') as boolean,
  };
}

function blockProblems(key: string, types: unknown, only: string, widths: readonly number[]): string[] {
  if (Array.isArray(types) && types.length === widths?.length && types.every((type) => type === only)) return [];
  return [
    `${key}: expected ${only} once for each of ${widths?.length} block_out_channels, got ${JSON.stringify(types)}`,
  ];
}
