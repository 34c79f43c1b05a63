import { existsSync } from 'node:fs';
import { InvalidArgumentError } from '@mezzotint/core';
import type { SampleSettings } from '../settings.js';
import type { LatentModel } from './latent-model.js';
import { isFile } from './open-model.js';
import { inputOf, type Recipe } from './recipe.js';
import { sizeOf } from './start-picture.js';
import { type LoraFile, parseLora } from './unloaded.js';

/** Share of the noise that the base leaves to the refiner. Podell et al. 2023. */
const HANDOVER = 0.2;

/** Settings that make pictures of a prompt. */
export type PromptSettings = SampleSettings & { readonly prompt: string };

/**
 * The recipe that the settings ask for, all defaults filled in.
 *
 * @throws InvalidArgumentError when a file is not there or is no picture
 */
export async function recipeOf(
  settings: PromptSettings,
  model: LatentModel,
  loras: readonly LoraFile[],
  engine: { readonly name: string; readonly versions: Readonly<Record<string, string>> },
): Promise<Recipe> {
  const { image, mask, refiner, count = 1 } = settings;
  const factor = model.vae.downscale * 2 ** (model.unet.config.blockChannels.length - 1);
  const own = image === undefined ? model.nativeSize : await sizeOf(image, factor);
  const input = (path: string | undefined) => (path === undefined ? null : inputOf(path));
  return {
    prompt: settings.prompt,
    negative: settings.negative ?? null,
    model: inputOf(settings.model),
    parts: input(settings.parts),
    tokenizer: input(settings.tokenizer),
    prediction: settings.prediction ?? null,
    refiner: input(refiner),
    handover: refiner === undefined ? 0 : (settings.handover ?? HANDOVER),
    loras: loras.map(({ path, scale }) => ({ ...inputOf(path), scale })),
    variant: settings.variant ?? null,
    weights: settings.weights ?? null,
    image: input(image),
    mask: input(mask),
    strength: image === undefined ? null : (settings.strength ?? (mask === undefined ? 0.8 : 1)),
    height: settings.height ?? own.height,
    width: settings.width ?? own.width,
    solver: settings.solver ?? null,
    steps: settings.steps ?? 30,
    guidance: settings.guidance ?? (model.second ? 5 : 7.5),
    guidanceRescale: settings.guidanceRescale ?? 0,
    seed: settings.seed ?? 0,
    count,
    batch: settings.batch ?? 1,
    columns: settings.columns ?? Math.ceil(Math.sqrt(count)),
    scale: settings.scale ?? 1,
    engine: engine.name,
    versions: engine.versions,
  };
}

/** Throws an InvalidArgumentError that names every flag that does not go with the others, and every file that is not there. */
export function checkFlags(settings: SampleSettings): void {
  const { labels, image, mask, strength, refiner, handover } = settings;
  const problems = fileProblems(settings);
  if (labels !== undefined) problems.push('--labels: this model takes a --prompt, not labels');
  if (image === undefined && mask !== undefined) problems.push('--mask: needs an --image that it is for');
  if (image === undefined && strength !== undefined) problems.push('--strength: needs an --image that it is for');
  if (refiner === undefined && handover !== undefined) problems.push('--handover: needs a --refiner to hand over to');
  if (problems.length > 0) throw new InvalidArgumentError('flags', problems);
}

/** Throws an InvalidArgumentError that names every file that is not there, and every flag of files that does not go with the others. */
export function checkFiles(settings: SampleSettings): void {
  const problems = fileProblems(settings);
  if (problems.length > 0) throw new InvalidArgumentError('flags', problems);
}

function fileProblems(settings: SampleSettings): string[] {
  const { model, parts, image, mask, refiner, tokenizer, prediction, variant } = settings;
  const problems: string[] = [];
  for (const [flag, path] of Object.entries({ model, parts, image, mask, refiner, tokenizer })) {
    if (path !== undefined && !existsSync(path)) problems.push(`--${flag}: ${path}: no such file or folder`);
  }
  for (const { path } of (settings.lora ?? []).map(parseLora)) {
    if (!existsSync(path)) problems.push(`--lora: ${path}: no such file`);
  }
  if (!existsSync(model)) return problems; // What it is decides the rest.
  const single = isFile(model);
  if (!single && parts !== undefined) problems.push('--parts: is for a --model that is one file');
  for (const [flag, value] of Object.entries({ tokenizer, prediction })) {
    if (value === undefined) continue;
    if (!single) problems.push(`--${flag}: is for a --model that is one file; a folder has its own`);
    else if (parts !== undefined) problems.push(`--${flag}: the folder of --parts says it`);
  }
  if (single && parts === undefined && variant !== undefined) {
    problems.push('--variant: is for folders, whose files have such names');
  }
  return problems;
}
