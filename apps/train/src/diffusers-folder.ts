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

/** What a training on other data changes of a configuration of ours. */
interface Changed {
  readonly imageSize?: unknown;
  readonly classes?: unknown;
  readonly nullLabel?: unknown;
}

/** Keys of diffusers' configurations that follow from it. DiT counts real classes, a UNet the rows of its table. */
const keys: Readonly<Record<string, (config: Changed) => unknown>> = {
  sample_size: ({ imageSize }) => imageSize,
  num_embeds_ada_norm: ({ classes }) => classes,
  num_class_embeds: ({ classes, nullLabel }) =>
    typeof classes === 'number' ? classes + (nullLabel === true ? 1 : 0) : null,
};

/**
 * Writes a model that began as one of diffusers as a folder that diffusers opens: `config.json` as it was, with the new size and
 * classes, and `diffusion_pytorch_model.safetensors`.
 *
 * @param origin the `config.json` that it began with
 * @param options.half weights in half precision
 */
export async function saveDiffusers(
  folder: string,
  origin: string,
  model: Module & { readonly config?: unknown },
  { half = false }: { readonly half?: boolean } = {},
): Promise<string> {
  const json = readJson(origin) as Record<string, unknown>;
  for (const [key, of] of Object.entries(keys)) {
    const value = of((model.config ?? {}) as Changed);
    if (key in json && value !== undefined) json[key] = value;
  }
  const weights = asWeightSource(await model.save());
  const there = layouts[String(json._class_name)]?.(weights) ?? weights;
  const tensors: Record<string, HostTensor> = {};
  for (const name of there.tensors.keys()) tensors[name] = (await there.read(name)) as HostTensor;
  await mkdir(folder, { recursive: true });
  const bytes = new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
  await writeFileAtomically(join(folder, 'config.json'), bytes, { overwrite: true });
  await writeSafetensors(join(folder, 'diffusion_pytorch_model.safetensors'), tensors, {
    ...{ dtype: half ? 'F16' : 'F32', overwrite: true },
  });
  return folder;
}
