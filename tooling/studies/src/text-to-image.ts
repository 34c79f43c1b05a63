import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { type Bitmap, openDataset, readImage, stackPictures, writePng } from '@mezzotint/data';
import { type FeatureNetwork, readPictures } from '@mezzotint/features';
import { type GridOptions, imageGrid } from '@mezzotint/figures';
import { openPipeline } from '@mezzotint/pipelines/node';
import { writeJson } from './files.js';
import { openJudge } from './pictures.js';

/** The flags of `study text-to-image`. */
export interface TextToImageFlags {
  readonly model: string;
  /** The folder of `train emoji-data`. */
  readonly data: string;
  /** A CLIP of `train`. */
  readonly features: string;
  readonly out: string;
  readonly seed: number;
  readonly guidance: readonly number[];
  /** Other states of the model, such as those of earlier in the training, or with other averages. */
  readonly versions: readonly { readonly name: string; readonly path: string }[];
}

/** Pictures in the large grid, in each row of a comparison, and beside their nearest neighbours. */
const [GRID, ROW, NEAREST] = [40, 6, 12] as const;

/** Training pictures that the judge reads at once. */
const AT_ONCE = 64;

/** What every version and every guidance scale is asked. */
const PROMPTS = [
  'a red heart, noto style',
  'a cat face, twemoji style',
  'a pizza, noto style',
  'a rocket, twemoji style',
  'a woman astronaut with dark skin tone, twemoji style',
  'a green heart, noto style',
] as const satisfies { length: typeof ROW };

/**
 * What a model of emoji makes: a grid of evenly chosen prompts, the combinations over the real pictures, guidance scales, versions of the
 * model, and samples over the training pictures that are nearest by the judge.
 */
export async function runTextToImage(
  { model, data, features, out, seed, guidance, versions }: TextToImageFlags,
  { say, result, signal }: CommandContext,
): Promise<void> {
  mkdirSync(out, { recursive: true });
  const examples = await captioned(join(data, 'examples'));
  const combinations = await captioned(join(data, 'combinations'));
  const train = await captioned(join(data, 'train'));
  const write = async (name: string, pictures: readonly Bitmap[], options: GridOptions) => {
    const path = join(out, `${name}.png`);
    await writePng(path, imageGrid(stackPictures(pictures), options), { overwrite: true });
    say(path);
  };
  const make = async (path: string, prompts: readonly string[], scale?: number): Promise<readonly Bitmap[]> => {
    const pipeline = await openPipeline(path);
    try {
      const request = { prompt: [...prompts], seed, ...(scale !== undefined && { guidance: scale }) };
      return (await pipeline.generate(request, { signal })).images;
    } finally {
      pipeline.dispose();
    }
  };

  const chosen = evenly(examples, GRID).map(({ prompt }) => prompt);
  await write('grid', await make(model, chosen), { columns: 8, scale: 2, captions: chosen });

  const unseen = evenly(combinations, 16);
  const made = await make(
    model,
    unseen.map(({ prompt }) => prompt),
  );
  const real = await Promise.all(unseen.map(({ path }) => readImage(path, { channels: 3 })));
  const halves = [0, 8].flatMap((from) => [made.slice(from, from + 8), real.slice(from, from + 8)]).flat();
  const words = [0, 8].flatMap((from) => [
    unseen.slice(from, from + 8).map(({ prompt }) => prompt),
    Array(8).fill('real'),
  ]);
  await write('combinations', halves, { columns: 8, scale: 2, captions: words.flat() as string[] });

  const byScale: Bitmap[] = [];
  for (const scale of guidance) byScale.push(...(await make(model, PROMPTS, scale)));
  const rowLabels = guidance.map((scale) => `guidance ${scale}`);
  await write('guidance', byScale, { columns: ROW, scale: 2, rowLabels });

  if (versions.length > 0) {
    const rows: Bitmap[] = [];
    for (const { path } of versions) rows.push(...(await make(path, PROMPTS)));
    await write('versions', rows, { columns: ROW, scale: 2, rowLabels: versions.map(({ name }) => name) });
  }

  const network = await openJudge(features);
  const progress = startProgress('Reading training pictures', train.length);
  const rows: Float32Array[] = [];
  try {
    for (let first = 0; first < train.length; first += AT_ONCE) {
      signal.throwIfAborted();
      const pictures = await Promise.all(
        train.slice(first, first + AT_ONCE).map(({ path }) => readImage(path, { channels: 3 })),
      );
      rows.push(...(await directions(network, pictures)));
      progress.update(first + pictures.length);
    }
  } finally {
    progress.stop();
  }
  const asked = evenly(examples, NEAREST);
  const samples = await make(
    model,
    asked.map(({ prompt }) => prompt),
  );
  const nearest = (await directions(network, samples)).map((sample) => {
    const cosines = rows.map((row) => dot(row, sample));
    const index = cosines.indexOf(Math.max(...cosines));
    return { index, cosine: cosines[index]! };
  });
  network.dispose();
  const neighbours = await Promise.all(nearest.map(({ index }) => readImage(train[index]!.path, { channels: 3 })));
  const captions = [
    ...asked.map(({ prompt }) => prompt),
    ...nearest.map(({ index, cosine }) => `${train[index]!.prompt} (${cosine.toFixed(2)})`),
  ];
  await write('nearest', [...samples, ...neighbours], { columns: NEAREST, scale: 2, captions });
  const json = { model, seed, nearest: nearest.map(({ cosine }, i) => ({ prompt: asked[i]!.prompt, cosine })) };
  writeJson(join(out, 'text-to-image.json'), json);
  result(json);
}

interface Captioned {
  readonly path: string;
  readonly prompt: string;
}

/** Pictures of a folder with their first captions, by name. */
async function captioned(folder: string): Promise<Captioned[]> {
  const { examples } = await openDataset(folder, { folderClasses: 'never' });
  const without = examples.filter(({ captions }) => captions.length === 0).length;
  if (without > 0) throw new InvalidArgumentError(folder, `${without} pictures have no caption`);
  return examples.map(({ source, captions }) => ({ path: source.path, prompt: captions[0]! }));
}

/** `count` of a list at equal distances: chosen by nobody. */
function evenly<T>(list: readonly T[], count: number): T[] {
  return Array.from({ length: Math.min(count, list.length) }, (_, i) => {
    return list[Math.floor(((i + 0.5) * list.length) / Math.min(count, list.length))]!;
  });
}

/** Features of pictures, each of length 1. */
async function directions(network: FeatureNetwork, pictures: readonly Bitmap[]): Promise<Float32Array[]> {
  const { features } = await readPictures(network, pictures);
  const { data, count, dim } = features;
  return Array.from({ length: count }, (_, i) => {
    const row = data.slice(i * dim, (i + 1) * dim) as Float32Array;
    const length = Math.sqrt(dot(row, row));
    return row.map((value) => value / length);
  });
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
