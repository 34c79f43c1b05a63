import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { readJson, readLora, readText, readWeights } from '@mezzotint/weights/node';
import type { ModelFiles } from '../family.js';

/** The files of a folder of a disk, or one file. Throws an InvalidArgumentError when there is nothing. */
export function diskFiles(path: string): ModelFiles {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new InvalidArgumentError(path, 'no such file or folder');
  const at = (file: string) => (file === '' ? path : join(path, file));
  return {
    name: path,
    kind: stat.isDirectory() ? 'folder' : 'file',
    has: (file) => existsSync(at(file)),
    text: async (file) => readText(at(file)),
    json: async (file) => readJson(at(file)),
    weights: (file, { variant } = {}) => readWeights(at(file), variant === undefined ? {} : { variant }),
    ...(stat.isFile() && { beside: () => diskFiles(dirname(path)), lora: () => readLora(path) }),
  };
}
