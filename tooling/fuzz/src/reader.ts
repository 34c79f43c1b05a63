import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseJson, sizeOf, type WeightSource } from '@mezzotint/core';
import { mutateBytes, mutateJson, type Random } from './mutate.js';

/** A reader, files to start from, and what is done to them. Adding one is one record in a file of `readers/`. */
export interface Reader {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  mutate(seed: Uint8Array, random: Random): Uint8Array;
  /** Reads the file to its end; `seed` is the index of the file that it was made from. Throws an error of ours, or nothing. */
  read(bytes: Uint8Array, seed: number): unknown;
  /** Largest array that a file may make it ask for, over the size of the file. */
  readonly memory?: number;
}

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** A path of the project. */
export const projectPath = (path: string) => join(root, path);

/** The bytes of a file of the project. */
export const file = (path: string) => new Uint8Array(readFileSync(projectPath(path)));

/** The paths of the files below a folder of the project whose names match, sorted. */
export const pathsBelow = (folder: string, ending: RegExp) =>
  readdirSync(projectPath(folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .sort()
    .map((name) => join(folder, name));

/** Their bytes. */
export const below = (folder: string, ending: RegExp) => pathsBelow(folder, ending).map(file);

/** A folder of the system for files, removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-fuzz-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A reader of bytes. */
export const binary = (name: string, seeds: readonly Uint8Array[], read: Reader['read'], memory?: number): Reader => ({
  ...{ name, seeds, mutate: mutateBytes, read },
  ...(memory !== undefined && { memory }),
});

/** A reader of JSON that was parsed already; what is no JSON is passed over, as `readJson` refuses it. */
export const json = (
  name: string,
  seeds: readonly Uint8Array[],
  read: (value: unknown, seed: number) => unknown,
): Reader => ({
  ...{ name, seeds, mutate: mutateJson },
  read(bytes, seed) {
    let value: unknown;
    try {
      value = parseJson(Buffer.from(bytes).toString('utf8'), { python: true });
    } catch (error) {
      if (error instanceof SyntaxError) return; // What readJson turns into an InvalidFileError.
      throw error;
    }
    return read(value, seed);
  },
});

/** A reader of a JSON file that parses it itself. */
export const jsonFile = (name: string, seeds: readonly Uint8Array[], read: Reader['read']): Reader => ({
  ...{ name, seeds, mutate: mutateJson, read },
});

/** Reads every tensor, which must be of the shape that it says. */
export async function readAll(source: WeightSource): Promise<void> {
  for (const [name, { shape }] of source.tensors) {
    const { data } = await source.read(name);
    if (data.length !== sizeOf(shape)) throw new Error(`${name} is not of its shape`);
  }
}

/** A safetensors file of float32 tensors whose numbers are small. */
export function safetensorsOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Uint8Array {
  let at = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const from = at;
    at += 4 * sizeOf(shape);
    return [name, { dtype: 'F32', shape, data_offsets: [from, at] }];
  });
  const text = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const data = Float32Array.from({ length: at / 4 }, (_, i) => ((i * 7) % 5) / 8 - 0.25);
  return Buffer.concat([length, text, Buffer.from(data.buffer)]);
}
