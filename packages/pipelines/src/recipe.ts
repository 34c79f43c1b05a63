import { InvalidFileError, parseJson, seedPlus } from '@mezzotint/core';
import { z } from 'zod';
import { unusedBy } from './guidance.js';
import { labelsOf } from './jobs.js';
import { type OpenOptions, openSchema } from './options.js';
import type { Pipeline } from './pipeline.js';
import { isBitmap, type Request, type RequestKey, requestSchema } from './request.js';
import type { ImageJob } from './stage.js';

/** The text of a PNG that its recipe is in. */
export const RECIPE_KEY = 'mezzotint';

/** All that pictures were made from: options and request in one object, and what was read. It makes the same file again. */
export const recipeSchema = z.strictObject({
  recipe: z.literal(2),
  /** Path of the model. */
  model: z.string(),
  /** Fingerprints of what was read, by the paths that the recipe names. */
  inputs: z.record(z.string(), z.string()),
  engine: z.string(),
  versions: z.record(z.string(), z.string()),
  /** A picture that was enlarged tile by tile: its path, and how it was cut. */
  upscale: z.string().optional(),
  tile: z.int().min(1).optional(),
  overlap: z.int().min(0).optional(),
  /** How pictures are laid out in a grid, where it was said: pictures in a row, and pixels a side that each pixel became. */
  columns: z.int().min(1).optional(),
  scale: z.int().min(1).optional(),
  ...openSchema.shape,
  ...requestSchema.shape,
});
export type Recipe = z.infer<typeof recipeSchema>;

/** What a recipe is made of. */
export interface RecipeFacts {
  readonly model: string;
  readonly options: OpenOptions;
  readonly request: Request;
  readonly inputs: Readonly<Record<string, string>>;
  readonly engine: { readonly name: string; readonly versions: Readonly<Record<string, string>> };
}

/** The recipe of a request: what it leaves out is filled in, so that other defaults later make the same picture. */
export async function recipeOf(pipeline: Pipeline, facts: RecipeFacts): Promise<Recipe> {
  const { model, options, request, inputs, engine } = facts;
  const settings = await pipeline.settings(request);
  const unused = ['labels', ...unusedBy(settings.guide)];
  const filled: [string, unknown][] = [
    ...pipeline.takes,
    'steps',
    'count',
    'batch',
    'solver',
    'solverOptions',
    'guide',
    'seeds',
  ]
    .map((key): [string, unknown] => [key, request[key as RequestKey] ?? settings[key as RequestKey]])
    .filter(([key, value]) => value !== undefined && !unused.includes(key));
  const named = filled.map(([key, value]): [string, unknown] => {
    if (isBitmap(value)) throw new InvalidFileError(key, 'a picture without a path cannot be named in a recipe');
    return [key, value];
  });
  const { classes } = pipeline;
  const labels =
    classes.length > 0 && pipeline.takes.includes('labels') ? labelsOf(request.labels, classes) : undefined;
  const { strict: _, ignoreParts, freeText: __, taesd: ___, ...opened } = options;
  return {
    recipe: 2,
    model,
    inputs: { ...inputs },
    engine: engine.name,
    versions: { ...engine.versions },
    // Sorted, so that a replayed picture is the same file.
    ...Object.fromEntries(Object.entries(opened).sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(ignoreParts && { ignoreParts }),
    ...(labels && { labels }),
    ...Object.fromEntries(named),
    height: settings.height,
    width: settings.width,
    ...(request.seeds === undefined
      ? { seed: seedPlus(request.seed ?? 0, 0) }
      : { seeds: request.seeds.map((seed) => seedPlus(seed, 0)) }),
  } as Recipe;
}

/** The recipe of one picture of a request. */
export function recipeOfImage(
  recipe: Recipe,
  { seed, prompt, negative, secondPrompt, secondNegative, thirdPrompt, thirdNegative, label }: ImageJob,
): Recipe {
  const { seeds: _, ...rest } = recipe;
  return {
    ...rest,
    ...{ seed, count: 1 },
    ...(recipe.prompt !== undefined && { prompt }),
    ...(negative !== null && { negative }),
    ...(secondPrompt !== null && { secondPrompt }),
    ...(secondNegative !== null && { secondNegative }),
    ...(thirdPrompt !== null && { thirdPrompt }),
    ...(thirdNegative !== null && { thirdNegative }),
    ...(label !== null && { labels: [label] }),
  };
}

/** The recipe of a picture that was enlarged tile by tile: that of a request with it as `image`, and how it was cut. */
export function recipeOfUpscale(
  { image, height: _, width: __, ...recipe }: Recipe,
  cut: { readonly tile: number; readonly overlap: number },
): Recipe {
  return { ...recipe, upscale: image as string, ...cut };
}

/** Options and request of a recipe. */
export function fromRecipe(recipe: Recipe): { readonly options: OpenOptions; readonly request: Request } {
  const pick = (keys: readonly string[]) =>
    Object.fromEntries(Object.entries(recipe).filter(([key, value]) => keys.includes(key) && value !== undefined));
  return { options: pick(Object.keys(openSchema.shape)), request: pick(Object.keys(requestSchema.shape)) };
}

/** What recipes were before pipelines: of prompts only. */
const input = z.object({ path: z.string(), hash: z.string() });
const firstSchema = z.object({
  ...{ prompt: z.string(), negative: z.string().nullable(), model: input, parts: input.nullable() },
  ...{ tokenizer: input.nullable().default(null), prediction: openSchema.shape.prediction.nullable().default(null) },
  ...{ refiner: input.nullable(), handover: z.number(), variant: z.string().nullable() },
  loras: z.array(input.extend({ scale: z.number() })),
  ...{ weights: openSchema.shape.weights.nullable().default(null), image: input.nullable(), mask: input.nullable() },
  ...{
    strength: z.number().nullable(),
    height: z.int(),
    width: z.int(),
    solver: requestSchema.shape.solver.nullable(),
  },
  ...{
    steps: z.int(),
    guidance: z.number(),
    guidanceRescale: z.number(),
    seed: z.int(),
    count: z.int(),
    batch: z.int(),
  },
  ...{ engine: z.string(), versions: z.record(z.string(), z.string()) },
});

/**
 * The recipe in a picture's text; those of earlier versions are turned into today's.
 *
 * @throws InvalidFileError when it is none
 */
export function parseRecipe(name: string, text: string | undefined): Recipe {
  if (text === undefined)
    throw new InvalidFileError(name, 'has no recipe: it was not made by sample, or it was edited');
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    throw new InvalidFileError(name, 'has a recipe that is not JSON', { cause });
  }
  const { recipe } = (json ?? {}) as Record<string, unknown>;
  const parsed = recipe === undefined ? firstSchema.safeParse(json) : recipeSchema.safeParse(json);
  if (!parsed.success) throw new InvalidFileError(name, `has no recipe: ${z.prettifyError(parsed.error)}`);
  return 'recipe' in parsed.data
    ? withFormerDefaults(parsed.data as Recipe)
    : today(parsed.data as z.infer<typeof firstSchema>);
}

/**
 * Weights in brackets counted in recipes that do not say how their prompts were read, and guides with a strength of their own had a scale
 * beside them that nothing read.
 */
function withFormerDefaults(whole: Recipe): Recipe {
  const unused: readonly string[] = unusedBy(whole.guide);
  const recipe = Object.fromEntries(Object.entries(whole).filter(([key]) => !unused.includes(key))) as Recipe;
  if (recipe.prompt === undefined || recipe.promptSyntax !== undefined) return recipe;
  return { ...recipe, promptSyntax: 'weighted' };
}

function today(first: z.infer<typeof firstSchema>): Recipe {
  const { model, parts, tokenizer, refiner, handover, loras, image, mask, versions, ...rest } = first;
  const plain = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== undefined));
  const paths = { parts, tokenizer, refiner, image, mask };
  return {
    recipe: 2,
    inputs: {},
    versions,
    ...plain,
    model: model.path,
    ...Object.fromEntries(Object.entries(paths).flatMap(([key, value]) => (value === null ? [] : [[key, value.path]]))),
    ...(refiner && { denoisingEnd: 1 - handover }),
    ...(loras.length > 0 && { lora: loras.map(({ path, scale }) => ({ path, scale })) }),
    // Weights in brackets counted, and long prompts were encoded in chunks.
    ...{ promptSyntax: 'weighted', longPrompts: 'chunks' },
  } as Recipe;
}
