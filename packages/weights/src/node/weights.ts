import { type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { readPlainText, systemProblem } from '@mezzotint/core/node';
import { openShards, openWeights } from '../open.js';
import type { OpenTorchOptions } from '../torch/open.js';
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
  return openWith<WeightFile>(path, (file) => openWeights(file, options));
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

function readShards(path: string, options: ReadWeightsOptions): Promise<WeightFile> {
  return openShards(path, readPlainText(path, readingBudget.textBytes), async (shard) => {
    const place = join(dirname(path), shard);
    // A folder may hold an index again, and a linked one this index.
    if (lookAt(place)?.isDirectory() === true)
      throw new InvalidFileError(path, `names ${quoted(shard)} as a shard, which is a folder`);
    return readWeights(place, options);
  });
}
