import { readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { z } from 'zod';
import type { SampleFlags } from './command.js';
import { predictions } from './latent/family.js';
import type { Recipe } from './latent/recipe.js';
import { weightFormats } from './latent/unloaded.js';

const fileSchema = z
  .strictObject({
    model: z.string(),
    out: z.string(),
    labels: z.string(),
    count: z.int().min(1),
    solver: z.enum(Object.keys(solvers) as [SolverName, ...SolverName[]]),
    steps: z.int().min(1),
    guidance: z.number().min(0),
    seed: z.int().min(0),
    batch: z.int().min(1),
    columns: z.int().min(1),
    scale: z.int().min(1),
    engine: z.string(),
    prompt: z.string(),
    negative: z.string(),
    height: z.int().min(1),
    width: z.int().min(1),
    image: z.string(),
    mask: z.string(),
    strength: z.number().min(0).max(1),
    refiner: z.string(),
    handover: z.number().min(0).max(1),
    guidanceRescale: z.number().min(0).max(1),
    lora: z.array(z.string()),
    variant: z.string(),
    parts: z.string(),
    tokenizer: z.string(),
    prediction: z.enum(predictions),
    weights: z.enum(weightFormats),
  })
  .partial();

/** All settings: what names the model and the file to write is there. */
export type SampleSettings = SampleFlags & { readonly model: string; readonly out: string };

/** Flags over the recipe that is replayed, over the configuration file's settings; the model must be named by one of them. */
export function mergeSettings(flags: SampleFlags, recipe?: Recipe): SampleSettings {
  const file = flags.config === undefined ? {} : readConfig(flags.config, fileSchema);
  const merged = { out: 'out/sample.png', ...file, ...(recipe && settingsOf(recipe)), ...flags };
  if (merged.model === undefined) {
    throw new InvalidArgumentError('--model', 'expected a model folder, for example --model models/digits');
  }
  return merged as SampleSettings;
}

/** What the flags would have to be for a recipe. */
function settingsOf({
  versions: _,
  model,
  parts,
  tokenizer,
  refiner,
  image,
  mask,
  loras,
  ...recipe
}: Recipe): Partial<SampleFlags> {
  const { negative, strength, handover, solver, variant, prediction, weights, ...plain } = recipe;
  return {
    ...plain,
    model: model.path,
    ...(parts && { parts: parts.path }),
    ...(tokenizer && { tokenizer: tokenizer.path }),
    ...(prediction !== null && { prediction }),
    ...(negative !== null && { negative }),
    ...(refiner && { refiner: refiner.path, handover }),
    ...(image && { image: image.path }),
    ...(mask && { mask: mask.path }),
    ...(strength !== null && { strength }),
    ...(solver !== null && { solver }),
    ...(variant !== null && { variant }),
    ...(weights !== null && { weights }),
    ...(loras.length > 0 && { lora: loras.map(({ path, scale }) => `${path}:${scale}`) }),
  };
}
