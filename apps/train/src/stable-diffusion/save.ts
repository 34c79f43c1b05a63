import { copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Module, StateDict } from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/data';
import { LoraAdapter, type LoraLayout, loraConfig, loraStateDict, TextualInversion } from '@mezzotint/training';
import { writeSafetensors } from '@mezzotint/weights/node';
import type { StableDiffusionAdapter } from './adapter.js';

/**
 * Writes what was trained beside a model into a run folder. A LoRA into `lora/`: for peft (`unet/`, `text_encoder/`), for diffusers
 * (`pytorch_lora_weights.safetensors`) and for kohya's tools (`lora-kohya.safetensors`). New tokens into `embeddings/`: for diffusers
 * (`learned_embeds.safetensors`) and for the web UI (`a1111.safetensors`, which is named as the token there).
 *
 * @returns the files
 */
export async function saveAdapter(
  run: string,
  { unet, text_encoder }: StableDiffusionAdapter,
  token: string | undefined,
): Promise<string[]> {
  const files: string[] = [];
  const write = async (file: string, tensors: StateDict) => {
    await writeSafetensors(file, tensors, { overwrite: true });
    files.push(file);
  };
  if (text_encoder instanceof TextualInversion) {
    const folder = join(run, 'embeddings');
    await mkdir(folder, { recursive: true });
    const plain = token!.replaceAll(/[^\w-]/g, '') || 'token';
    await write(join(folder, 'learned_embeds.safetensors'), await text_encoder.stateDictFor('diffusers', token!));
    await write(join(folder, `${plain}.safetensors`), await text_encoder.stateDictFor('a1111', token!));
  }
  const loras = Object.entries({ unet, text_encoder }).flatMap(([model, adapter]) =>
    adapter instanceof LoraAdapter ? [{ model: model as 'unet' | 'text_encoder', adapter }] : [],
  );
  if (loras.length === 0) return files;
  const folder = join(run, 'lora');
  const all = async (layout: LoraLayout) => {
    const parts = await Promise.all(loras.map(({ model, adapter }) => loraStateDict(adapter, { layout, model })));
    return Object.assign({}, ...parts) as StateDict;
  };
  for (const { model, adapter } of loras) {
    await mkdir(join(folder, model), { recursive: true });
    await write(join(folder, model, 'adapter_model.safetensors'), await loraStateDict(adapter, { layout: 'peft' }));
    const config = new TextEncoder().encode(`${JSON.stringify(loraConfig(adapter), null, 2)}\n`);
    await writeFileAtomically(join(folder, model, 'adapter_config.json'), config, { overwrite: true });
  }
  await write(join(folder, 'pytorch_lora_weights.safetensors'), await all('diffusers'));
  await write(join(folder, 'lora-kohya.safetensors'), await all('kohya'));
  return files;
}

/** Writes a whole model as a folder of diffusers: that which it began with, but for the weights of its UNet, which may be in `half` precision. */
export async function savePipeline(
  folder: string,
  origin: string,
  unet: Module,
  { half }: { readonly half: boolean },
): Promise<void> {
  copyFolder(origin, folder, (path) => /^unet[/\\].*\.(?:safetensors|bin|index\.json)$/.test(path));
  mkdirSync(join(folder, 'unet'), { recursive: true });
  const file = join(folder, 'unet', 'diffusion_pytorch_model.safetensors');
  await writeSafetensors(file, await unet.save(), { dtype: half ? 'F16' : 'F32', overwrite: true });
}

function copyFolder(from: string, to: string, leaveOut: (path: string) => boolean, at = ''): void {
  mkdirSync(join(to, at), { recursive: true });
  for (const name of readdirSync(join(from, at))) {
    const path = join(at, name);
    if (statSync(join(from, path)).isDirectory()) copyFolder(from, to, leaveOut, path);
    else if (!leaveOut(path)) copyFileSync(join(from, path), join(to, path));
  }
}
