import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, prepareOutput } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { classesToFile } from './classes-to-file.js';
import type { SampleFlags } from './command.js';
import { explainModel } from './explain/explain-model.js';
import { takesPrompts } from './latent/open-model.js';
import { picturesToFile } from './latent/pictures-to-file.js';
import { readRecipe } from './latent/recipe.js';
import { mergeSettings, type SampleSettings } from './settings.js';

/** Samples as the flags say, writes the picture and says where it is. */
export async function sampleToFile(flags: SampleFlags, context: CommandContext): Promise<void> {
  const recipe = flags.replay === undefined ? undefined : await readRecipe(flags.replay);
  const settings = mergeSettings(flags, recipe);
  if (flags.explain) return explainModel(settings, context);
  const overwrite = flags.overwrite ?? false;
  prepareOutput(settings.out, overwrite);
  if (takesPrompts(settings.model)) {
    const { prompt } = settings;
    if (prompt === undefined) throw new InvalidArgumentError('--prompt', `${settings.model} takes a prompt, got none`);
    return picturesToFile({ ...settings, prompt }, context, recipe);
  }
  checkNoPrompt(settings);
  return classesToFile(settings, context);
}

/** Flags that mean something only where there is a prompt. */
const withPrompt = [
  ...(['prompt', 'negative', 'height', 'width', 'image', 'mask', 'strength', 'refiner', 'handover'] as const),
  ...(['guidanceRescale', 'lora', 'variant', 'parts', 'tokenizer', 'prediction', 'weights'] as const),
];

/** Throws an InvalidArgumentError that names every flag that a model of classes would pass over. */
function checkNoPrompt(settings: SampleSettings): void {
  const given = withPrompt.filter((name) => settings[name] !== undefined);
  if (given.length === 0) return;
  checkHoldsModel(settings.model);
  const flags = given.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  throw new InvalidArgumentError(
    flags.join(', '),
    `${settings.model} takes --labels; prompts are for folders of diffusers and for single files`,
  );
}

/** Throws an InvalidArgumentError when there is no model at all, so that no flag is blamed for it. */
function checkHoldsModel(path: string): void {
  if (!existsSync(path)) throw new InvalidArgumentError(path, 'no such file or folder');
  const files = ['config.json', 'model.safetensors'];
  if ([path, join(path, 'model')].some((folder) => files.every((file) => existsSync(join(folder, file))))) return;
  throw new InvalidArgumentError(
    path,
    `holds no model: expected a file of weights, a folder with model_index.json, or one with ${files.join(' and ')}`,
  );
}
