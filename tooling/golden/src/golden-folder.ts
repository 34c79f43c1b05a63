import { readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type HostTensor, InvalidFileError } from '@mezzotint/core';
import { readSafetensors } from '@mezzotint/weights/node';

/** A folder with a tiny checkpoint of the reference, its inputs and its outputs. */
export interface GoldenFolder {
  readonly path: string;
  readonly name: string;
  /** The reference's class, from origin.json. */
  readonly className: string;
  /** The reference's own configuration. */
  readonly config: unknown;
  /** The checkpoint's file. */
  readonly weights: string;
  readonly inputs: Readonly<Record<string, HostTensor>>;
  readonly outputs: Readonly<Record<string, HostTensor>>;
  /** Outputs that the reference itself cannot reproduce to the usual bar, with the bar that origin.json sets for them. */
  readonly tolerances: Readonly<Record<string, number>>;
}

/**
 * Reads a golden folder: origin.json, config.json and io.safetensors (tensors `in.*` and `out.*`).
 * @throws InvalidFileError when a file is missing or is not what it should be
 */
export async function openGoldenFolder(path: string): Promise<GoldenFolder> {
  const originFile = join(path, 'origin.json');
  const origin = readJson(originFile) as { class?: unknown; tolerance?: unknown } | null;
  const className = origin?.class;
  if (typeof className !== 'string') throw new InvalidFileError(originFile, "expected the name of a class as 'class'");
  const io = await readIo(join(path, 'io.safetensors'));
  return {
    path,
    name: basename(resolve(path)),
    className,
    config: readJson(join(path, 'config.json')),
    weights: join(path, 'model.safetensors'),
    ...io,
    tolerances: tolerancesOf(originFile, origin?.tolerance ?? {}),
  };
}

/** A wrong model is wrong by far more than this. */
const widest = 0.01;

function tolerancesOf(file: string, given: unknown): Readonly<Record<string, number>> {
  const entries = typeof given === 'object' && given !== null ? Object.entries(given) : [];
  for (const [name, bar] of entries) {
    if (!(typeof bar === 'number' && bar > 0 && bar <= widest))
      throw new InvalidFileError(
        file,
        `expected a tolerance in (0, ${widest}] for ${name}, got ${JSON.stringify(bar)}`,
      );
  }
  return Object.fromEntries(entries) as Record<string, number>;
}

async function readIo(file: string): Promise<Pick<GoldenFolder, 'inputs' | 'outputs'>> {
  const source = readSafetensors(file);
  try {
    const inputs: Record<string, HostTensor> = {};
    const outputs: Record<string, HostTensor> = {};
    for (const name of source.tensors.keys()) {
      const [, side, rest] = /^(in|out)\.(.+)$/.exec(name) ?? [];
      if (rest === undefined)
        throw new InvalidFileError(file, `expected tensors named in.* and out.*, found '${name}'`);
      (side === 'in' ? inputs : outputs)[rest] = await source.read(name);
    }
    if (Object.keys(outputs).length === 0)
      throw new InvalidFileError(file, 'expected outputs to compare with (out.*), found none');
    return { inputs, outputs };
  } finally {
    source.close();
  }
}

function readJson(file: string): unknown {
  const text = readText(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidFileError(file, `is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = (cause as { code?: string }).code === 'ENOENT';
    throw new InvalidFileError(file, missing ? 'no such file or folder' : (cause as Error).message, { cause });
  }
}
