import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, readingBudget } from '@mezzotint/core';
import { findWeights, openFile, readJson, readLora, readText, readWeights } from '@mezzotint/weights/node';
import type { ModelFiles } from '../family.js';

/**
 * The files of a folder of a disk, or one file.
 *
 * @param read told of each file that is read
 * @throws InvalidArgumentError when there is nothing
 */
export function diskFiles(path: string, read: (file: string) => void = () => {}): ModelFiles {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new InvalidArgumentError(path, 'no such file or folder');
  const at = (file: string) => (file === '' ? path : join(path, file));
  const noted = (file: string) => {
    const place = at(file);
    if (existsSync(place)) read(place);
    return place;
  };
  return {
    name: path,
    kind: stat.isDirectory() ? 'folder' : 'file',
    has: (file) => existsSync(at(file)),
    text: async (file) => readText(noted(file)),
    json: async (file) => readJson(noted(file)),
    bytes: async (file) => readBytes(noted(file)),
    weights: async (file, { variant } = {}) => {
      const weights = await readWeights(at(file), variant === undefined ? {} : { variant });
      for (const found of filesOf(at(file), variant)) read(found);
      return weights;
    },
    ...(stat.isFile() && {
      beside: () => diskFiles(dirname(path), read),
      lora: () => {
        read(path);
        return readLora(path);
      },
    }),
  };
}

/** The files that hold weights: one, or an index and its shards. */
function filesOf(place: string, variant: string | undefined): string[] {
  const file = statSync(place).isDirectory() ? findWeights(place, variant) : place;
  if (!file.endsWith('.json')) return [file];
  const { weight_map: shards = {} } = readJson(file) as { weight_map?: Record<string, string> };
  return [file, ...[...new Set(Object.values(shards))].map((shard) => join(dirname(file), shard))];
}

function readBytes(path: string): Uint8Array {
  const file = openFile(path);
  try {
    if (file.size > readingBudget.textBytes)
      throw new InvalidFileError(path, `has ${file.size} bytes, at most ${readingBudget.textBytes} are read`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}
