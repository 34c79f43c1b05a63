import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { readPngText } from '@mezzotint/data';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { z } from 'zod';
import { predictions } from './family.js';
import { weightFormats } from './unloaded.js';

const inputSchema = z.strictObject({ path: z.string(), hash: z.string() });

/** All that a picture was made from. It goes into the PNG, and makes the same file again. */
const recipeSchema = z.strictObject({
  prompt: z.string(),
  negative: z.string().nullable(),
  model: inputSchema,
  parts: inputSchema.nullable(),
  tokenizer: inputSchema.nullable().default(null),
  prediction: z.enum(predictions).nullable().default(null),
  refiner: inputSchema.nullable(),
  handover: z.number(),
  loras: z.array(z.strictObject({ path: z.string(), hash: z.string(), scale: z.number() })),
  variant: z.string().nullable(),
  weights: z.enum(weightFormats).nullable().default(null),
  image: inputSchema.nullable(),
  mask: inputSchema.nullable(),
  strength: z.number().nullable(),
  height: z.int().min(1),
  width: z.int().min(1),
  solver: z.enum(Object.keys(solvers) as [SolverName, ...SolverName[]]).nullable(),
  steps: z.int().min(1),
  guidance: z.number(),
  guidanceRescale: z.number(),
  seed: z.int().min(0),
  count: z.int().min(1),
  batch: z.int().min(1),
  columns: z.int().min(1),
  scale: z.int().min(1),
  engine: z.string(),
  versions: z.record(z.string(), z.string()),
});

export type Recipe = z.infer<typeof recipeSchema>;
export type RecipeInput = z.infer<typeof inputSchema>;

/** The PNG text that the recipe is in. */
export const RECIPE_KEY = 'mezzotint';

/**
 * The recipe of a picture made from a prompt.
 *
 * @throws InvalidFileError when the picture has none
 */
export async function readRecipe(path: string): Promise<Recipe> {
  const text = (await readPngText(path))[RECIPE_KEY];
  if (text === undefined)
    throw new InvalidFileError(path, 'has no recipe: it was not made by sample, or it was edited');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InvalidFileError(path, 'has a recipe that is not JSON', { cause });
  }
  const parsed = recipeSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new InvalidFileError(path, `has no recipe of a prompt: ${z.prettifyError(parsed.error)}`);
}

/**
 * A name for what is in a file or folder: SHA-256 of names, sizes, and of each file's first and last mebibyte. The whole of
 * a model would take longer to hash than to load.
 */
export function fingerprint(path: string): string {
  const hash = createHash('sha256');
  const files = statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, encoding: 'utf8' })
        .map((name) => join(path, name))
        .filter((name) => statSync(name).isFile())
        .sort()
    : [path];
  for (const file of files) hash.update(`${relative(path, file)}\0`).update(ends(file));
  return hash.digest('hex');
}

/** The input's path and fingerprint. Throws an InvalidArgumentError when there is nothing. */
export function inputOf(path: string): RecipeInput {
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw new InvalidArgumentError(path, 'no such file or folder');
  return { path, hash: fingerprint(path) };
}

/** Throws an InvalidArgumentError that names every file of a recipe that is not what it was when the picture was made. */
export function checkInputs(then: Recipe, now: Recipe): void {
  const before = new Map(inputsOf(then).map(({ path, hash }) => [path, hash]));
  const changed = inputsOf(now).filter(({ path, hash }) => (before.get(path) ?? hash) !== hash);
  if (changed.length === 0) return;
  const names = changed.map(({ path }) => path).join(', ');
  throw new InvalidArgumentError('--replay', `not what they were when the picture was made: ${names}`);
}

function inputsOf({ model, parts, tokenizer, refiner, image, mask, loras }: Recipe): RecipeInput[] {
  return [model, parts, tokenizer, refiner, image, mask, ...loras].filter((input) => input !== null);
}

const END_BYTES = 2 ** 20;

function ends(file: string): Buffer {
  const { size } = statSync(file);
  if (size <= 2 * END_BYTES) return readFileSync(file);
  const bytes = Buffer.alloc(2 * END_BYTES + 8);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, bytes, 0, END_BYTES, 0);
    readSync(handle, bytes, END_BYTES, END_BYTES, size - END_BYTES);
  } finally {
    closeSync(handle);
  }
  bytes.writeBigUInt64LE(BigInt(size), 2 * END_BYTES);
  return bytes;
}
