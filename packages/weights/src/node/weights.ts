import { type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { readPlainText, systemProblem } from '@mezzotint/core/node';
import { FORMAT_BYTES, formatOf } from '../format.js';
import { openGguf } from '../gguf/open.js';
import { openNpy, openNpz } from '../numpy/open.js';
import { dequantized } from '../quantized/open.js';
import { openSafetensors } from '../safetensors/open.js';
import { joinShards, parseShardIndex } from '../sharded.js';
import { type OpenTorchOptions, openTorch } from '../torch/open.js';
import type { WeightFile } from '../weight-file.js';
import { openWith } from './file-source.js';
import { findWeights } from './folder.js';

/** How weights are found and opened. */
export interface ReadWeightsOptions extends OpenTorchOptions {
  /** In a folder: the part of the file's name that hubs put in, such as `fp16`. */
  readonly variant?: string;
}

/**
 * Opens weights, whatever they are: a safetensors, torch, GGUF, `.npz` or `.npy` file (told by its bytes, not its name), a
 * shard index, or a model's folder. Throws an InvalidFileError when it is none of these.
 */
export async function readWeights(path: string, options: ReadWeightsOptions = {}): Promise<WeightFile> {
  const stat = lookAt(path);
  if (stat === undefined) throw new InvalidFileError(path, 'no such file or folder');
  if (stat.isDirectory()) return readWeights(findWeights(path, options.variant), options);
  if (path.endsWith('.json')) return readShards(path, options);
  return openWith<WeightFile>(path, async (file) => {
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
        throw new InvalidFileError(path, 'is no weight file: neither safetensors nor torch nor GGUF nor .npz nor .npy');
    }
  });
}

/** What is there. Throws an InvalidFileError where that cannot be seen (links in a circle, names too long). */
function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InvalidFileError(path, systemProblem(code) ?? message, { cause });
  }
}

async function readShards(path: string, options: ReadWeightsOptions): Promise<WeightFile> {
  const index = parseShardIndex(path, readPlainText(path, readingBudget.textBytes));
  const open = new Map<string, WeightFile>();
  try {
    for (const shard of index.shards.keys()) {
      if (shard.endsWith('.json')) throw new InvalidFileError(path, `names ${quoted(shard)} as a shard, which is JSON`);
      const place = join(dirname(path), shard);
      // A folder may hold an index again, and a linked one this index.
      if (lookAt(place)?.isDirectory() === true)
        throw new InvalidFileError(path, `names ${quoted(shard)} as a shard, which is a folder`);
      open.set(shard, await readWeights(place, options));
    }
    return joinShards(index, open);
  } catch (error) {
    for (const source of open.values()) source.close();
    throw error;
  }
}
