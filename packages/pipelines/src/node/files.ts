import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { openFile, readJson, readLora, readText, readWeights } from '@mezzotint/weights/node';
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
    bytes: async (file) => readBytes(at(file)),
    weights: (file, { variant } = {}) => readWeights(at(file), variant === undefined ? {} : { variant }),
    ...(stat.isFile() && { beside: () => diskFiles(dirname(path)), lora: () => readLora(path) }),
  };
}

/** Longest file that is read whole: vocabularies have a megabyte or two. */
const MAX_BYTES = 2 ** 24;

function readBytes(path: string): Uint8Array {
  const file = openFile(path);
  try {
    if (file.size > MAX_BYTES)
      throw new InvalidFileError(path, `has ${file.size} bytes, at most ${MAX_BYTES} are read`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}
