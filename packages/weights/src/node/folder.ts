import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidFileError } from '@mezzotint/core';

/** Names of weight files in a model's folder, best first; `*` stands where a variant's name goes. */
const CANDIDATES = [
  'diffusion_pytorch_model*.safetensors',
  'diffusion_pytorch_model.safetensors.index*.json',
  'model*.safetensors',
  'model.safetensors.index*.json',
  'diffusion_pytorch_model*.bin',
  'diffusion_pytorch_model.bin.index*.json',
  'pytorch_model*.bin',
  'pytorch_model.bin.index*.json',
];

/**
 * The weight file or shard index of a model's folder as diffusers and transformers lay it out. `variant` is the part
 * of the name that hubs put in (`fp16`). Throws an InvalidFileError that says what is there instead.
 */
export function findWeights(folder: string, variant?: string): string {
  const insert = variant === undefined ? '' : `.${variant}`;
  for (const candidate of CANDIDATES) {
    const path = join(folder, candidate.replace('*', insert));
    if (existsSync(path)) return path;
  }
  const there = readdirSync(folder).filter((name) => /\.(?:safetensors|bin|index[^/]*\.json)$/.test(name));
  const wanted =
    variant === undefined ? 'no weights without a variant' : `no weights of the variant ${JSON.stringify(variant)}`;
  throw new InvalidFileError(folder, `has ${wanted}; it has: ${there.join(', ') || 'no weight files'}`);
}
