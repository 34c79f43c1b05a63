import { join } from 'node:path';
import type { HostTensor } from '@mezzotint/core';
import { openComponent, translate, unetKeyMap, vaeKeyMap } from '@mezzotint/weights';
import { readWeights } from '@mezzotint/weights/node';

const prefixes = {
  unet: 'model.diffusion_model.',
  vae: 'first_stage_model.',
  text_encoder: 'cond_stage_model.transformer.',
};

/** The weights of a folder of Stable Diffusion 1 as the original code saves them in one file. */
export async function originalLayout(folder: string): Promise<Record<string, HostTensor>> {
  const state: Record<string, HostTensor> = {};
  for (const [part, prefix] of Object.entries(prefixes)) {
    const file = await readWeights(join(folder, part));
    const names = [...file.tensors.keys()];
    const weights =
      part === 'text_encoder'
        ? openComponent(file).weights
        : translate(file, part === 'unet' ? unetKeyMap(names, 'right') : vaeKeyMap(names, 'right'), 'right');
    for (const name of weights.tensors.keys()) state[prefix + name] = await weights.read(name);
    file.close();
  }
  return state;
}
