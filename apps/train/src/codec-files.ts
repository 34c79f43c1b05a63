import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError, type Module } from '@mezzotint/core';
import { diskFiles, type OwnAutoencoder, openCodec } from '@mezzotint/pipelines/node';
import { findWeights } from '@mezzotint/weights/node';

/** The folder that has the autoencoder, inside one of latent images and inside that of a model. */
export const CODEC = 'codec';

/** The folder of an autoencoder: that of a model of latent images or of its run, itself, the `model/` of a run, or the `vae/` of a pipeline of diffusers. */
export function findCodec(path: string): string {
  if (!existsSync(path)) throw new InvalidArgumentError('--codec', `${path}: no such folder`);
  const places = [...codecsBeside(path), join(path, 'model'), path];
  const found = places.find((place) => existsSync(join(place, 'config.json')));
  if (found !== undefined) return found;
  throw new InvalidArgumentError('--codec', `${path}: expected a folder with the config.json of an autoencoder`);
}

/** Where the autoencoder of a model of latent images lies: a model of ours, its run, or a pipeline of diffusers. */
function codecsBeside(path: string): string[] {
  return [join(path, CODEC), join(path, 'model', CODEC), join(path, 'vae')];
}

/** Whether the model that a training begins with has another autoencoder beside it than the one in `codec`; false where it has none. */
export async function isOtherCodec(init: string, codec: string): Promise<boolean> {
  const beside = codecsBeside(init).find((place) => existsSync(join(place, 'config.json')));
  // Of one that cannot be read nothing is known.
  const theirs = beside === undefined ? undefined : await openCodecModel(beside).catch(() => undefined);
  if (theirs === undefined) return false;
  const ours = await openCodecModel(codec);
  try {
    const [a, b] = [theirs.params(), ours.params()];
    if (String([...a.keys()]) !== String([...b.keys()])) return true;
    for (const [name, param] of a) {
      const [x, y] = [await param.toHost(), await b.get(name)!.toHost()];
      if (String(x.shape) !== String(y.shape) || !x.data.every((value, i) => near(value, y.data[i]!))) return true;
    }
    return false;
  } finally {
    theirs.dispose();
    ours.dispose();
  }
}

/** As near as half precision keeps a weight. */
function near(a: number, b: number): boolean {
  return Math.abs(a - b) <= 2 ** -10 * Math.abs(a) + 2 ** -24;
}

/** The autoencoder of latent images, with weights, to show what is made. */
export async function openCodecModel(folder: string): Promise<OwnAutoencoder & Module> {
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
