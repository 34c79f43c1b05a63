import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import type { LatentModel } from './latent-model.js';
import { type FileOptions, openFile } from './open-file.js';
import { openFolder } from './open-folder.js';
import { type LoadHow, type LoraFile, loadModel, type UnloadedModel } from './unloaded.js';

/** Where a model is, and what it does not say itself. */
export interface ModelPlace extends FileOptions {
  /** A folder of diffusers, or one file. */
  readonly path: string;
  /** The part of the weight files' names that hubs put in, such as `fp16`; of folders. */
  readonly variant?: string | undefined;
  /** The folder that the configurations, tokenizers and missing parts of one file come from. */
  readonly parts?: string | undefined;
}

/** Whether a path is a model that takes prompts: a folder of diffusers, or one file of weights. */
export function takesPrompts(path: string): boolean {
  return existsSync(join(path, 'model_index.json')) || isFile(path);
}

/** Whether a path is a file. */
export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/**
 * Opens the files of a model; reads their headers only.
 *
 * @throws InvalidFileError or InvalidArgumentError when it is no model that we can sample from, or a part is missing
 */
export async function openModel({ path, parts, variant, report, ...said }: ModelPlace): Promise<UnloadedModel> {
  if (!existsSync(path)) throw new InvalidArgumentError(path, 'no such file or folder');
  if (parts !== undefined) return openFolder(parts, { variant, file: path, report });
  return isFile(path) ? openFile(path, { ...said, report }) : openFolder(path, { variant, report });
}

/** Opens a model and reads its weights, with LoRA files merged into them. Throws as `openModel` and `loadModel` do. */
export async function openLoaded(
  place: ModelPlace,
  loras: readonly LoraFile[] = [],
  how: LoadHow = {},
): Promise<LatentModel> {
  return loadModel(await openModel(place), loras, how);
}
