import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';
import { diskFiles, type OwnAutoencoder, openCodec } from '@mezzotint/pipelines/node';
import { findWeights } from '@mezzotint/weights/node';

/** The folder that has the autoencoder, inside one of latent images and inside that of a model. */
export const CODEC = 'codec';

/** The folder of an autoencoder: itself, the `model/` of a run, or the `vae/` of a pipeline of diffusers. */
export function findCodec(path: string): string {
  if (!existsSync(path)) throw new InvalidArgumentError('--codec', `${path}: no such folder`);
  const found = [join(path, 'model'), join(path, 'vae'), path].find((place) => existsSync(join(place, 'config.json')));
  if (found !== undefined) return found;
  throw new InvalidArgumentError('--codec', `${path}: expected a folder with the config.json of an autoencoder`);
}

/** The autoencoder of latent images, with weights, to show what is made. */
export async function openCodecModel(folder: string): Promise<OwnAutoencoder> {
  const opened = await openCodec(diskFiles(folder), '');
  try {
    await opened.model.load(opened.weights);
    return opened.model;
  } finally {
    opened.close();
  }
}

/** Copies configuration and weights of an autoencoder; both are what `openCodec` reads. */
export async function copyCodec(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const weights = findWeights(from);
  if (weights.endsWith('.json')) {
    throw new InvalidArgumentError('codec', `${from}: expected its weights in one file, got shards`);
  }
  const name = weights.slice(from.length + 1);
  for (const file of ['config.json', name]) await cp(join(from, file), join(to, file));
}
