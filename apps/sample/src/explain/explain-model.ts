import type { CommandContext } from '@mezzotint/app/terminal';
import { InvalidArgumentError } from '@mezzotint/core';
import { diskFiles, families, openDefinition } from '@mezzotint/pipelines/node';
import type { LoraModels } from '@mezzotint/weights';
import { readWeights } from '@mezzotint/weights/node';
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
  const { model } = settings.app;
  const explanation = (await isLora(model)) ? await ofLora(model) : await ofModel(settings);
  if (json) result(explanation);
  else for (const line of explanationLines(explanation)) say(line);
  const { misfits } = explanation;
  if (misfits > 0)
    throw new InvalidArgumentError('--explain', `${misfits} of the keys do not fit; the report names them`);
}

/** A LoRA file alone: what it says that its layers are for. */
async function ofLora(path: string): Promise<Explanation> {
  const loras = [await explainLora(path, undefined)];
  const taken = 'a LoRA; give it as --lora beside its --model to see whether it fits';
  return explanationOf({ model: path, taken, parts: [], unused: [], problems: [], loras });
}

async function isLora(path: string): Promise<boolean> {
  if (diskFiles(path).kind === 'folder') return false;
  const file = await readWeights(path);
  const names = [...file.tensors.keys()];
  file.close();
  return names.some((name) => /[._]lora[._]|\.lora_[AB]\./.test(name));
}

async function ofModel({ app: { model }, options }: SampleSettings): Promise<Explanation> {
  const problems: string[] = [];
  const note = (line: string) => problems.push(line);
  const opened = await openDefinition(diskFiles(model), families, { options, files: diskFiles, note });
  try {
    const models: LoraModels = Object.fromEntries(
      opened.parts.flatMap(({ lora, weights }) => (lora === undefined ? [] : [[lora, weights]])),
    );
    const loras = [];
    for (const { path } of options.lora ?? []) loras.push(await explainLora(path, models));
    const parts = opened.parts.map(({ name, module, weights }) => explainPart(name, module, weights));
    const taken = diskFiles(model).kind === 'file' ? opened.description : null;
    return explanationOf({ model, taken, parts, unused: opened.dropped ?? [], problems, loras });
  } finally {
    opened.close();
  }
}
