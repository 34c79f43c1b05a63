import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asWeightSource, type HostTensor, type Module, type WeightSource } from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/data';
import { ditKeyMap, translate } from '@mezzotint/weights';
import { readJson, writeSafetensors } from '@mezzotint/weights/node';

/** Our weights as a class of diffusers names them; where it does not stand here, the names are the same. */
const layouts: Readonly<Record<string, (weights: WeightSource) => WeightSource>> = {
  DiTTransformer2DModel: (weights) => translate(weights, ditKeyMap(weights.tensors.keys(), 'left'), 'left'),
};

/** Keys of diffusers' configurations that a training on other data changes, by ours. */
const changed: Readonly<Record<string, string>> = { imageSize: 'sample_size', classes: 'num_embeds_ada_norm' };

/**
 * Writes a model that began as one of diffusers as a folder that diffusers opens: `config.json` as it was, with the new size and
 * classes, and `diffusion_pytorch_model.safetensors`.
 *
 * @param origin the `config.json` that it began with
 */
export async function saveDiffusers(
  folder: string,
  origin: string,
  model: Module & { readonly config?: unknown },
): Promise<string> {
  const json = readJson(origin) as Record<string, unknown>;
  for (const [ours, theirs] of Object.entries(changed)) {
    const value = (model.config as Record<string, unknown> | undefined)?.[ours];
    if (theirs in json && typeof value === 'number') json[theirs] = value;
  }
  const weights = asWeightSource(await model.save());
  const there = layouts[String(json._class_name)]?.(weights) ?? weights;
  const tensors: Record<string, HostTensor> = {};
  for (const name of there.tensors.keys()) tensors[name] = (await there.read(name)) as HostTensor;
  await mkdir(folder, { recursive: true });
  const bytes = new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
  await writeFileAtomically(join(folder, 'config.json'), bytes, { overwrite: true });
  await writeSafetensors(join(folder, 'diffusion_pytorch_model.safetensors'), tensors, { overwrite: true });
  return folder;
}
