import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidFileError, listed, type Module, quoted, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import { parseStrictJson, type StrictJson } from '../json/strict-json.js';
import { readJson, readText } from './text-files.js';
import { type ReadWeightsOptions, readWeights } from './weights.js';

/** A pipeline's folder: its parts with their classes, from `model_index.json`. */
export interface PipelineFolder {
  readonly path: string;
  /** The pipeline's class, for example `StableDiffusionPipeline`. */
  readonly className: string;
  /** Parts that are there: folder name -> class name (`unet` -> `UNet2DConditionModel`). */
  readonly components: ReadonlyMap<string, string>;
  /** The folder of a part. Throws an InvalidFileError when there is none. */
  folderOf(component: string): string;
  /** A text file, by its path in the folder. Throws as `readText`. */
  text(file: string): string;
  /** A JSON file, by its path in the folder. Throws as `readJson`. */
  json(file: string): unknown;
  /**
   * A part with its weights: what `build` makes of its `config.json`, loaded strictly.
   *
   * @param build for example `(config) => new UNet2DCondition(unet2dConditionFromDiffusers(config))`
   */
  load<M extends Module>(component: string, build: (config: unknown) => M, options?: ReadWeightsOptions): Promise<M>;
}

/** Opens a pipeline's folder as hubs have them. Throws an InvalidFileError when it has no `model_index.json`. */
export function readPipelineFolder(path: string): PipelineFolder {
  const file = join(path, 'model_index.json');
  if (!existsSync(file)) throw new InvalidFileError(path, 'has no model_index.json');
  const index = readJsonObject(file);
  const className = index.get('_class_name');
  if (typeof className !== 'string') throw new InvalidFileError(file, 'has no _class_name');
  const components = new Map<string, string>();
  for (const [name, value] of index) {
    if (!Array.isArray(value) || typeof value[1] !== 'string') continue; // Settings, and parts that are switched off.
    if (!/^\w+$/.test(name)) throw new InvalidFileError(file, `${quoted(name)} is not the name of a folder`);
    components.set(name, value[1]);
  }
  const folderOf = (component: string): string => {
    const folder = join(path, component);
    if (components.has(component) && statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder;
    const named = quoted(component);
    throw new InvalidFileError(
      path,
      components.has(component)
        ? `has no folder ${named}, though its model_index.json names that part`
        : `has no part ${named}; it has: ${listed([...components.keys()])}`,
    );
  };
  return {
    path,
    className,
    components,
    folderOf,
    text: (file) => readText(join(path, file)),
    json: (file) => readJson(join(path, file)),
    load: async (component, build, options) => {
      const folder = folderOf(component);
      const module = build(readJson(join(folder, 'config.json')));
      const weights = await readWeights(folder, options);
      try {
        return await module.load(weights);
      } finally {
        weights.close();
      }
    },
  };
}

function readJsonObject(file: string): ReadonlyMap<string, StrictJson> {
  const text = readPlainText(file, readingBudget.configBytes);
  try {
    const json = parseStrictJson(text);
    if (json instanceof Map) return json;
  } catch (cause) {
    throw new InvalidFileError(file, `is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  throw new InvalidFileError(file, 'is not a JSON object');
}
