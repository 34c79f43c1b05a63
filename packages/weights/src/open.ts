import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import type { ByteSource } from './bytes/byte-source.js';
import { FORMAT_BYTES, formatOf } from './format.js';
import { openGguf } from './gguf/open.js';
import { openNpy, openNpz } from './numpy/open.js';
import { dequantized } from './quantized/open.js';
import { openSafetensors } from './safetensors/open.js';
import { joinShards, parseShardIndex } from './sharded.js';
import { type OpenTorchOptions, openTorch } from './torch/open.js';
import type { WeightFile } from './weight-file.js';

/**
 * Opens weights from bytes that are read by range, whatever they are: safetensors, torch, GGUF, `.npz` or `.npy`, told by
 * their first bytes, not by a name. Reads the header only.
 *
 * @throws InvalidFileError when it is none of these, or damaged
 */
export async function openWeights(
  file: ByteSource & { close?(): void },
  options: OpenTorchOptions = {},
): Promise<WeightFile> {
  switch (formatOf(await file.read(0, Math.min(FORMAT_BYTES, file.size)))) {
    case 'safetensors':
      return dequantized(await openSafetensors(file));
    case 'torch':
      return openTorch(file, options);
    case 'gguf':
      return openGguf(file);
    case 'npz':
      return openNpz(file);
    case 'npy':
      return openNpy(file);
    case undefined:
      throw new InvalidFileError(
        file.name,
        'is no weight file: neither safetensors nor torch nor GGUF nor .npz nor .npy',
      );
  }
}

/**
 * Opens the shards of an index as one source.
 *
 * @param text of the index, such as `model.safetensors.index.json`
 * @param open opens a file beside the index, by its name
 * @throws InvalidFileError when it is no index, or the shards do not hold what it says
 */
export async function openShards(
  name: string,
  text: string,
  open: (shard: string) => Promise<WeightFile>,
): Promise<WeightFile> {
  if (text.length > readingBudget.textBytes) throw new InvalidFileError(name, 'is too long for an index of shards');
  const index = parseShardIndex(name, text);
  const opened = new Map<string, WeightFile>();
  try {
    for (const shard of index.shards.keys()) {
      if (shard.endsWith('.json')) throw new InvalidFileError(name, `names ${quoted(shard)} as a shard, which is JSON`);
      opened.set(shard, await open(shard));
    }
    return joinShards(index, opened);
  } catch (error) {
    for (const source of opened.values()) source.close();
    throw error;
  }
}

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
 * The weight file or shard index of a model's folder as diffusers and transformers lay it out.
 *
 * @param has whether the folder has a file of this name
 * @param names of files in the folder, for the error
 * @param variant the part of the name that hubs put in (`fp16`)
 * @throws InvalidFileError that says what is there instead
 */
export function weightsOfFolder(
  folder: string,
  has: (name: string) => boolean,
  names: () => readonly string[],
  variant?: string,
): string {
  const insert = variant === undefined ? '' : `.${variant}`;
  const found = CANDIDATES.map((candidate) => candidate.replace('*', insert)).find(has);
  if (found !== undefined) return found;
  const there = names().filter((name) => /\.(?:safetensors|bin|index[^/]*\.json)$/.test(name));
  const wanted =
    variant === undefined ? 'no weights without a variant' : `no weights of the variant ${JSON.stringify(variant)}`;
  throw new InvalidFileError(folder, `has ${wanted}; it has: ${there.join(', ') || 'no weight files'}`);
}
