import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '@mezzotint/data';
import { type LoraAdapter, type LoraFileOptions, loraConfig, loraStateDict } from '@mezzotint/training';
import { writeSafetensors } from '@mezzotint/weights/node';

/** Our names of layers as diffusers has them, where it names the architecture's layers another way. */
function diffusersNames(adapter: LoraAdapter, architecture: string): Pick<LoraFileOptions, 'rename'> {
  const names = renames[architecture];
  return names === undefined ? {} : { rename: (path) => names(path, adapter.layers.get(path)!.of.fileShape[0]!) };
}

type Rename = (path: string, rows: number) => readonly { readonly path: string; readonly rows: number }[];

/** DiT of the original as `DiTTransformer2DModel`. */
const dit: Rename = (path, rows) => {
  const block = /^blocks\.(\d+)\.(.*)$/.exec(path);
  if (block === null) return [{ path, rows }];
  const base = `transformer_blocks.${block[1]}`;
  if (block[2] === 'attn.qkv') {
    return ['to_q', 'to_k', 'to_v'].map((name) => ({ path: `${base}.attn1.${name}`, rows: rows / 3 }));
  }
  const one: Readonly<Record<string, string>> = {
    'attn.proj': 'attn1.to_out.0',
    'mlp.fc1': 'ff.net.0.proj',
    'mlp.fc2': 'ff.net.2',
    'adaLN_modulation.1': 'norm1.linear',
  };
  return [{ path: one[block[2]!] === undefined ? path : `${base}.${one[block[2]!]}`, rows }];
};

const renames: Readonly<Record<string, Rename>> = { DiT: dit };

/**
 * Writes an adapter into `lora/` of a run folder: as peft (`adapter_model.safetensors`, `adapter_config.json`), as diffusers loads
 * it (`pytorch_lora_weights.safetensors`), and as kohya's tools do (`lora-kohya.safetensors`).
 *
 * @returns the files
 */
export async function saveLora(run: string, adapter: LoraAdapter, architecture: string): Promise<string[]> {
  const folder = join(run, 'lora');
  await mkdir(folder, { recursive: true });
  const model = architecture.includes('UNet') ? 'unet' : 'transformer';
  const names = diffusersNames(adapter, architecture);
  const files = {
    'adapter_model.safetensors': await loraStateDict(adapter, { layout: 'peft' }),
    'pytorch_lora_weights.safetensors': await loraStateDict(adapter, { layout: 'diffusers', model, ...names }),
    'lora-kohya.safetensors': await loraStateDict(adapter, { layout: 'kohya', model, ...names }),
  };
  for (const [name, tensors] of Object.entries(files)) {
    await writeSafetensors(join(folder, name), tensors, { overwrite: true });
  }
  const config = new TextEncoder().encode(`${JSON.stringify(loraConfig(adapter), null, 2)}\n`);
  await writeFileAtomically(join(folder, 'adapter_config.json'), config, { overwrite: true });
  return Object.keys(files).map((name) => join(folder, name));
}
