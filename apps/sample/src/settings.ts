import { existsSync } from 'node:fs';
import { flagOf, readConfig, readPrompts } from '@mezzotint/app/terminal';
import { InvalidArgumentError } from '@mezzotint/core';
import { readPngText } from '@mezzotint/data';
import { shardOf } from '@mezzotint/distributed';
import {
  fromRecipe,
  type OpenOptions,
  openSchema,
  parseRecipe,
  RECIPE_KEY,
  type Recipe,
  type Request,
  requestSchema,
  stageLists,
  unusedBy,
} from '@mezzotint/pipelines';
import { z } from 'zod';
import type { AppSettings, SampleFlags } from './command.js';

const appSchema = z
  .strictObject({
    ...{ model: z.string(), out: z.string(), prompts: z.string(), engine: z.string(), overwrite: z.boolean() },
    ...{ preview: z.string(), upscale: z.string(), tile: z.int().min(1), overlap: z.int().min(0) },
    ...{ shard: z.string(), columns: z.int().min(1), scale: z.int().min(1), handover: z.number().min(0).max(1) },
  })
  .partial();
const fileSchema = z.strictObject({ ...appSchema.shape, ...openSchema.shape, ...requestSchema.shape });

/** All that a run of `sample` is told. */
export interface SampleSettings {
  readonly app: AppSettings & { readonly model: string; readonly out: string };
  readonly options: OpenOptions;
  readonly request: Request;
  /** The recipe that is replayed; its files must be what they were. */
  readonly replayed: Recipe | undefined;
  /** Which part of the pictures is made; all when absent. */
  readonly shard: readonly [number, number] | undefined;
  /** Lines on flags that have new names. */
  readonly notes: readonly string[];
}

/**
 * Flags over the recipe that is replayed, over the configuration file.
 *
 * @throws InvalidArgumentError when no model is named, or a file of the settings is not there
 */
export async function settingsOf({ config, replay, explain: _, ...flags }: SampleFlags): Promise<SampleSettings> {
  const replayed = replay === undefined ? undefined : parseRecipe(replay, (await readPngText(replay))[RECIPE_KEY]);
  const file = config === undefined ? {} : readConfig(config, fileSchema);
  const recipe = replayed && settingsOfRecipe(replayed);
  const merged = [file, recipe ?? {}, flags].reduce<Record<string, unknown>>(over, { out: 'out/sample.png' });
  const { handover, prompts } = merged as { handover?: number; prompts?: string };
  const notes: string[] = [];
  if (handover !== undefined) {
    notes.push('--handover is now --denoising-end, the fraction that the base makes: 1 - handover');
    merged.denoisingEnd ??= 1 - handover;
  }
  if (prompts !== undefined) {
    if (merged.prompt !== undefined)
      throw new InvalidArgumentError('--prompts', 'is in the place of --prompt; give one');
    merged.prompt = readPrompts('--prompts', prompts);
  }
  if (merged.model === undefined) {
    throw new InvalidArgumentError('--model', 'expected a model folder, for example --model models/digits');
  }
  const pick = (keys: object) => Object.fromEntries(Object.entries(merged).filter(([key]) => Object.hasOwn(keys, key)));
  for (const key of ['tile', 'overlap'] as const) {
    if (merged[key] !== undefined && merged.upscale === undefined) {
      throw new InvalidArgumentError(flagOf(key), 'is for --upscale');
    }
  }
  const settings: SampleSettings = {
    app: pick(appSchema.shape) as unknown as SampleSettings['app'],
    options: pick(openSchema.shape),
    request: pick(requestSchema.shape),
    ...{ replayed, notes, shard: shardOf((merged as AppSettings).shard) },
  };
  checkFiles(settings);
  return settings;
}

/** Settings that say the same in two ways. */
const EITHER = [
  ['prompt', 'prompts'],
  ['seed', 'seeds'],
] as const;

/**
 * Settings over others. One of two ways to say the same is over the other way, too, what all stages do over what each does, and a
 * guide with a strength of its own over a guidance scale.
 */
function over(below: Readonly<Record<string, unknown>>, above: object): Record<string, unknown> {
  const said: readonly string[] = [
    ...EITHER.filter((keys) => keys.some((key) => Object.hasOwn(above, key))).flat(),
    ...Object.entries(stageLists).flatMap(([list, key]) => (Object.hasOwn(above, key) ? [list] : [])),
    ...unusedBy((above as Request).guide),
  ];
  const kept = Object.entries(below).filter(([key]) => !said.includes(key));
  return { ...Object.fromEntries(kept), ...above };
}

/** What a recipe says of the settings, without those that it leaves out. */
function settingsOfRecipe(recipe: Recipe): object {
  const { model, engine, upscale, tile, overlap, columns, scale } = recipe;
  const app = Object.entries({ model, engine, upscale, tile, overlap, columns, scale });
  const { options, request } = fromRecipe(recipe);
  return { ...Object.fromEntries(app.filter(([, value]) => value !== undefined)), ...options, ...request };
}

/** Throws an InvalidArgumentError that names every file that is not there. */
function checkFiles({ app, options, request }: SampleSettings): void {
  const { parts, tokenizer, refiner, taesd, guidingModel, classifier, upsampler = [] } = options;
  const { lora = [], textualInversion = [] } = options;
  const { image, mask } = request;
  const named: [string, unknown][] = [
    ...Object.entries({ model: app.model, parts, tokenizer, refiner, taesd, guidingModel, classifier }),
    ...Object.entries({ image, mask, upscale: app.upscale }),
    ...[upsampler].flat().map((path): [string, unknown] => ['upsampler', path]),
    ...lora.map(({ path }): [string, unknown] => ['lora', path]),
    ...textualInversion.map(({ path }): [string, unknown] => ['textualInversion', path]),
  ];
  const problems = named.flatMap(([key, path]) =>
    typeof path !== 'string' || existsSync(path) ? [] : [`${flagOf(key)}: ${path}: no such file or folder`],
  );
  if (problems.length > 0) throw new InvalidArgumentError('flags', problems);
}
