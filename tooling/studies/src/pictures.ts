import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, NumpyRandomState } from '@mezzotint/core';
import { type ImageSet, openDataset, readExamples } from '@mezzotint/data';
import { type FeatureNetwork, featureNetworkNamed, readFeatures } from '@mezzotint/features';
import type { Features } from '@mezzotint/metrics';
import { readJson, readText, readWeights } from '@mezzotint/weights/node';

/** Pictures that go through a feature network at once. */
const JUDGED = 64;

/** `count` pictures of a folder, drawn at random but always the same, in the order of their names; all of them when there are fewer. */
export async function readPictures(path: string, size: number, count: number): Promise<ImageSet> {
  const set = await openDataset(path);
  const order = Array.from(new NumpyRandomState(0).permutation(set.examples.length));
  const chosen = order.slice(0, count).sort((a, b) => a - b);
  return readExamples({ ...set, examples: chosen.map((index) => set.examples[index]!) }, { size, channels: 3 });
}

/** A classifier or a CLIP that `train` made, as a feature network: the folder of its model, or its run. */
export async function openJudge(path: string): Promise<FeatureNetwork> {
  const folder = [path, join(path, 'model')].find(
    (place) => existsSync(join(place, 'config.json')) && existsSync(join(place, 'model.safetensors')),
  );
  if (folder === undefined) {
    throw new InvalidArgumentError(
      '--features',
      `${path}: expected the folder of a classifier or a CLIP that train made`,
    );
  }
  const config = readJson(join(folder, 'config.json')) as { readonly format?: string };
  const weights = await readWeights(folder);
  try {
    if (config.format === 'mezzotint/classifier@1') {
      return await featureNetworkNamed('classifier').open({ weights: [weights], config });
    }
    const vocabulary = { vocab: readJson(join(folder, 'vocab.json')), merges: readText(join(folder, 'merges.txt')) };
    return await featureNetworkNamed('clip').open({ weights: [weights], config, vocabulary });
  } finally {
    weights.close();
  }
}

/** Features of all pictures of a set, `[N, D]`. */
export async function featuresOf(
  judge: FeatureNetwork,
  { images, count, height, width, channels }: ImageSet,
): Promise<Features> {
  const area = height * width * channels;
  const data = new Float32Array(count * judge.dimension);
  for (let first = 0; first < count; first += JUDGED) {
    const n = Math.min(JUDGED, count - first);
    const part = images.slice(first * area, (first + n) * area);
    const { features } = await readFeatures(judge, { images: part, count: n, height, width, channels });
    data.set(features.data, first * judge.dimension);
  }
  return { data, count, dim: judge.dimension };
}
