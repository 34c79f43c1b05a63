import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidFileError } from '@mezzotint/core';
import { parseStrictJson, type StrictJson } from '../json/strict-json.js';

/** Names of weight files in a model's folder, best first; `*` stands where a variant's name goes. */
const CANDIDATES = [
  'diffusion_pytorch_model*.safetensors',
  'diffusion_pytorch_model.safetensors.index*.json',
  'model*.safetensors',
  'model.safetensors.index*.json',
  'diffusion_pytorch_model*.bin',
  'diffusion_pytorch_model.bin.index*.json',
  'pytorch_model*.bin',
  'pytorch_model.bin.index*.json',
];

/**
 * The weight file or shard index of a model's folder as diffusers and transformers lay it out. `variant` is the part
 * of the name that hubs put in (`fp16`). Throws an InvalidFileError that says what is there instead.
 */
export function findWeights(folder: string, variant?: string): string {
  const insert = variant === undefined ? '' : `.${variant}`;
  for (const candidate of CANDIDATES) {
    const path = join(folder, candidate.replace('*', insert));
    if (existsSync(path)) return path;
  }
  const there = readdirSync(folder).filter((name) => /\.(?:safetensors|bin|index[^/]*\.json)$/.test(name));
  const wanted =
    variant === undefined ? 'no weights without a variant' : `no weights of the variant ${JSON.stringify(variant)}`;
  throw new InvalidFileError(folder, `has ${wanted}; it has: ${there.join(', ') || 'no weight files'}`);
}

/** A pipeline's folder: its parts with their classes, from `model_index.json`. */
export interface PipelineFolder {
  readonly path: string;
  /** The pipeline's class, for example `StableDiffusionPipeline`. */
  readonly className: string;
  /** Parts that are there: folder name -> class name (`unet` -> `UNet2DConditionModel`). */
  readonly components: ReadonlyMap<string, string>;
  /** The folder of a part. Throws an InvalidFileError when there is none. */
  folderOf(component: string): string;
}

/** Longest `model_index.json` that is read. */
const MAX_JSON_BYTES = 2 ** 20;

/** Reads the parts of a pipeline's folder; undefined when it has no `model_index.json`. */
export function readPipelineFolder(path: string): PipelineFolder | undefined {
  const file = join(path, 'model_index.json');
  if (!existsSync(file)) return undefined;
  const index = readJsonObject(file);
  const className = index.get('_class_name');
  if (typeof className !== 'string') throw new InvalidFileError(file, 'has no _class_name');
  const components = new Map<string, string>();
  for (const [name, value] of index) {
    if (!Array.isArray(value) || typeof value[1] !== 'string') continue; // Settings, and parts that are switched off.
    if (!/^\w+$/.test(name)) throw new InvalidFileError(file, `${JSON.stringify(name)} is not the name of a folder`);
    components.set(name, value[1]);
  }
  return {
    path,
    className,
    components,
    folderOf: (component) => {
      const folder = join(path, component);
      if (components.has(component) && statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder;
      const named = JSON.stringify(component);
      throw new InvalidFileError(
        path,
        components.has(component)
          ? `has no folder ${named}, though its model_index.json names that part`
          : `has no part ${named}; it has: ${[...components.keys()].join(', ')}`,
      );
    },
  };
}

function readJsonObject(file: string): ReadonlyMap<string, StrictJson> {
  if (statSync(file).size > MAX_JSON_BYTES) throw new InvalidFileError(file, `is longer than ${MAX_JSON_BYTES} bytes`);
  try {
    const json = parseStrictJson(readFileSync(file, 'utf8'));
    if (json instanceof Map) return json;
  } catch (cause) {
    throw new InvalidFileError(file, `is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  throw new InvalidFileError(file, 'is not a JSON object');
}
