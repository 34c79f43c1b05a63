import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidFileError, parseJson, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';

export const MANIFEST = 'manifest.json';
const FORMAT = 'mezzotint-checkpoint';
const VERSION = 1;
const CHUNK = 2 ** 20;

/** Sizes and hashes of a checkpoint's files: a checkpoint is whole when all of them fit. */
export interface Manifest {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly step: number;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** Measures the named files of a folder. */
export async function makeManifest(folder: string, step: number, names: readonly string[]): Promise<Manifest> {
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const name of names) files[name] = await measure(join(folder, name));
  return { format: FORMAT, version: VERSION, step, files };
}

/**
 * Reads a checkpoint's manifest and checks every file against it.
 *
 * @throws InvalidFileError when the manifest is missing or wrong, or a file is missing, cut, or changed
 */
export async function verify(folder: string, step: number): Promise<Manifest> {
  const manifest = await read(folder);
  if (manifest.step !== step) throw new InvalidFileError(folder, `the manifest is of step ${manifest.step}`);
  for (const [name, expected] of Object.entries(manifest.files)) {
    const file = await stat(join(folder, name)).catch(() => undefined);
    if (file === undefined) throw new InvalidFileError(folder, `${name} is missing`);
    if (!file.isFile()) throw new InvalidFileError(folder, `${name} is not a plain file`);
    const { size } = file;
    if (size !== expected.bytes) {
      throw new InvalidFileError(folder, `${name} has ${size} bytes where the manifest says ${expected.bytes}`);
    }
    const { sha256 } = await measure(join(folder, name));
    if (sha256 !== expected.sha256) throw new InvalidFileError(folder, `${name} was changed (its SHA-256 differs)`);
  }
  return manifest;
}

async function read(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  if ((await stat(path).catch(() => undefined)) === undefined) {
    throw new InvalidFileError(folder, `${MANIFEST} is missing`);
  }
  let value: unknown;
  try {
    value = parseJson(readPlainText(path, readingBudget.configBytes));
  } catch (cause) {
    if (InvalidFileError.isInstance(cause)) throw cause;
    throw new InvalidFileError(folder, `${MANIFEST} is not JSON`, { cause });
  }
  if (!isManifest(value))
    throw new InvalidFileError(folder, `${MANIFEST} is not a version ${VERSION} ${FORMAT} manifest`);
  return value;
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== 'object' || value === null) return false;
  const { format, version, step, files } = value as Partial<Manifest>;
  if (format !== FORMAT || version !== VERSION || !Number.isSafeInteger(step)) return false;
  if (typeof files !== 'object' || files === null) return false;
  return Object.entries(files).every(
    ([name, file]) =>
      /^[\w.-]+$/.test(name) &&
      !name.startsWith('.') &&
      typeof file === 'object' &&
      file !== null &&
      Number.isSafeInteger(file.bytes) &&
      typeof file.sha256 === 'string',
  );
}

async function measure(path: string): Promise<{ bytes: number; sha256: string }> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = new Uint8Array(CHUNK);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK, bytes);
      if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') };
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await handle.close();
  }
}
