import { join } from 'node:path';
import { type CommandContext, describeDiffusionModel } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import type { LoraModels } from '@mezzotint/weights';
import { readWeights } from '@mezzotint/weights/node';
import { isFile, openModel, takesPrompts } from '../latent/open-model.js';
import { checkFiles } from '../latent/recipe-of.js';
import { loraNames, parseLora } from '../latent/unloaded.js';
import type { SampleSettings } from '../settings.js';
import { type Explanation, explainLora, explainPart, explanationOf } from './explanation.js';
import { explanationLines } from './lines.js';

/**
 * Says key by key where each tensor of a model, and of LoRA files, goes. Reads headers only (and one vector of a Stable
 * Diffusion 2 in one file, which tells what it predicts).
 *
 * @throws InvalidArgumentError after the report when something does not fit; what opening the files throws
 */
export async function explainModel(settings: SampleSettings, { say, json, result }: CommandContext): Promise<void> {
  const explanation = await explanationFor(settings);
  if (json) result(explanation);
  else for (const line of explanationLines(explanation)) say(line);
  const { misfits } = explanation;
  if (misfits > 0)
    throw new InvalidArgumentError('--explain', `${misfits} of the keys do not fit; the report names them`);
}

async function explanationFor(settings: SampleSettings): Promise<Explanation> {
  checkFiles(settings);
  const { model } = settings;
  if (!takesPrompts(model)) return ofClasses(model, settings);
  return (await isLora(model)) ? ofLora(model) : ofPrompts(settings);
}

/** A model folder of ours. */
async function ofClasses(path: string, { lora = [] }: SampleSettings): Promise<Explanation> {
  if (lora.length > 0)
    throw new InvalidArgumentError('--lora', `${path} takes labels; LoRA files are for models of prompts`);
  const { path: folder, model } = describeDiffusionModel(path);
  const file = await readWeights(join(folder, 'model.safetensors'));
  try {
    const moves = [...file.tensors.keys()].map((name) => ({ from: [name], to: [name], op: 'same' as const }));
    const part = { part: 'model', moves, unused: [], ...model.compare(file) };
    return explanationOf({ model: path, taken: null, parts: [part], unused: [], problems: [], loras: [] });
  } finally {
    file.close();
  }
}

/** A LoRA file alone: what it says that its layers are for. */
async function ofLora(path: string): Promise<Explanation> {
  const loras = [await explainLora(path, undefined)];
  const taken = 'a LoRA; give it as --lora beside its --model to see whether it fits';
  return explanationOf({ model: path, taken, parts: [], unused: [], problems: [], loras });
}

async function isLora(path: string): Promise<boolean> {
  if (!isFile(path)) return false;
  const file = await readWeights(path);
  const names = [...file.tensors.keys()];
  file.close();
  return names.some((name) => /[._]lora[._]|\.lora_[AB]\./.test(name));
}

async function ofPrompts({ model, lora = [], ...settings }: SampleSettings): Promise<Explanation> {
  const { parts: folder, variant, tokenizer, prediction } = settings;
  const problems: string[] = [];
  const report = (problem: string) => problems.push(problem);
  const opened = await openModel({ path: model, parts: folder, variant, tokenizer, prediction, report });
  try {
    const models: LoraModels = Object.fromEntries(
      opened.parts.flatMap(({ name, weights }) => (loraNames[name] === null ? [] : [[loraNames[name], weights]])),
    );
    const loras = [];
    for (const { path } of lora.map(parseLora)) loras.push(await explainLora(path, models));
    const parts = opened.parts.map(({ name, module, weights }) => explainPart(name, module, weights));
    return explanationOf({ model, taken: opened.taken, parts, unused: opened.dropped, problems, loras });
  } finally {
    opened.close();
  }
}
