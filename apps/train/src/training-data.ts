import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageSource, openImages } from '@mezzotint/app';
import { InvalidArgumentError, listed, quoted, type Seed } from '@mezzotint/core';
import {
  type BatchShare,
  batches,
  type Dataset,
  type ExampleBatch,
  exampleStream,
  fingerprint,
  type ImageBatch,
  type ImageSet,
  type LatentsIndex,
  latentStream,
  openDataset,
  readExamples,
  readLatentsIndex,
  splitDataset,
  toFloat,
  withoutDamaged,
} from '@mezzotint/data';
import { CODEC } from './codec-files.js';
import type { DataConfig } from './config.js';

/** A batch, with captions where the data has them. */
export type TrainingBatch = ImageBatch & Partial<Pick<ExampleBatch, 'captions'>>;

/** Batches that say where they stand. */
export interface TrainingBatches {
  readonly batchesPerEpoch: number;
  next(): Promise<TrainingBatch>;
  state(): { readonly epoch: number; readonly batch: number };
  resume(state: unknown): void;
  close(): Promise<void>;
}

/** What is trained on: pictures in memory, or pictures that are decoded as they are needed. */
export interface TrainingData {
  readonly count: number;
  /** Pixels of a batch; 0 apart only with aspect buckets. */
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Empty where nothing says a class. */
  readonly classes: readonly string[];
  /** How many pictures have a caption. */
  readonly captioned: number;
  /** Changes when anything that is trained on does. */
  readonly fingerprint: string;
  /** What was read, what was not, and why: lines for people. */
  readonly report: readonly string[];
  /** Names of the pictures in the order of `captions`, where they are files. */
  readonly names?: readonly string[] | undefined;
  /** All captions of each example; empty lists where there are none. */
  readonly captions: readonly (readonly string[])[];
  /** What is not trained on, in memory; undefined where nothing is held out. */
  readonly heldOut?: HeldOut;
  /** `share` gives one of several processes its part of each batch. */
  open(options: { readonly batchSize: number; readonly seed: Seed; readonly share?: BatchShare }): TrainingBatches;
  /** The first pictures, to show and to look at; absent for latent images. */
  first?(count: number): Promise<ImageSet>;
  /** What latent images are made of; absent for pictures. */
  readonly latents?: Latents;
}

/** What latent images are made of, and what a network sees of them: (z - mean) / deviation. */
export interface Latents {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** The pictures. */
  readonly image: { readonly size: number; readonly channels: 1 | 3 };
  /** The folder of the autoencoder. */
  readonly codec: string;
}

/** Data of pictures, for tasks that look at pixels. */
export interface PictureData extends TrainingData {
  readonly channels: 1 | 3;
  first(count: number): Promise<ImageSet>;
}

/** Throws an InvalidArgumentError unless the data are pictures. */
export function picturesFor(task: string, data: TrainingData): PictureData {
  if (data.latents === undefined) return data as PictureData;
  throw new InvalidArgumentError('data', `the task ${task} looks at pictures, got latent images: name their folder`);
}

/** Examples that are not trained on, in memory. */
export interface HeldOut {
  readonly count: number;
  /** As those of `TrainingData`. */
  readonly names?: readonly string[] | undefined;
  /** All captions of each; empty lists where there are none. */
  readonly captions: readonly (readonly string[])[];
  /** Absent for latent images. */
  readonly images?: ImageSet;
  /** `count` of them from `first` on, each with its first caption. */
  batch(first: number, count: number): TrainingBatch;
}

/** Most pictures that are decoded before the training to see whether they can be: a minute's work. */
const MOST_CHECKED = 10_000;

/** Most pictures that are held out: more tell no more of the loss, and they are kept in memory. */
const MOST_HELD_OUT = 512;

/** Opens the data of a configuration. */
export async function openTrainingData(config: DataConfig): Promise<TrainingData> {
  switch (config.kind) {
    case 'digits':
      return digits(config);
    case 'folder':
      return folder(config);
    case 'latents':
      return latents(config);
  }
}

/** The folder inside one of latent images that has those that are held out. */
export const HELD_OUT = 'held-out';

async function latents({ path, flip }: Extract<DataConfig, { kind: 'latents' }>): Promise<TrainingData> {
  const index = readLatentsIndex(path);
  const { mirrored = false } = index;
  if (flip && !mirrored) {
    throw new InvalidArgumentError(
      'data.flip',
      `${path} has no mirrored latent images, as an autoencoder does not mirror them by itself: encode the pictures again with train encode --flip`,
    );
  }
  const { count, height, width, channels, classes, captions, mean, deviation, image } = index;
  const captioned = captions.filter((own) => own.length > 0).length;
  const heldOut = existsSync(join(path, HELD_OUT)) ? await heldOutLatents(join(path, HELD_OUT), index) : undefined;
  return {
    ...{ count, height, width, channels, classes, captioned, captions, fingerprint: index.fingerprint },
    report: [
      `Data: ${count} latent images of ${height} x ${width} x ${channels} (${index.encoder})${classes.length > 0 ? ` in ${classes.length} classes` : ''}${captioned > 0 ? `, ${captioned} with captions` : ''}${mirrored && flip !== false ? ', each or its mirrored one' : ''}${heldOut ? `; ${heldOut.count} more are held out` : ''}`,
    ],
    ...(heldOut && { heldOut }),
    latents: { mean, deviation, image: { size: image[0], channels: image[2] as 1 | 3 }, codec: join(path, CODEC) },
    open: (options) => latentStream(path, { ...options, ...(flip !== undefined && { flip }) }),
  };
}

/** Held-out latent images, seen as those of the training are; one sample of each, always the same. */
async function heldOutLatents(path: string, train: LatentsIndex): Promise<HeldOut> {
  const index = readLatentsIndex(path);
  const count = Math.min(index.count, MOST_HELD_OUT);
  const { mean, deviation } = train;
  const stream = latentStream(path, { batchSize: count, seed: 0, flip: false, mean, deviation });
  const { images, labels, captions, shape } = await stream.next();
  await stream.close();
  const area = images.length / count;
  return {
    count,
    captions: captions.map((caption) => (caption === '' ? [] : [caption])),
    batch: (first, n) => ({
      images: images.slice(first * area, (first + n) * area),
      labels: labels.slice(first, first + n),
      captions: captions.slice(first, first + n),
      shape: [n, shape[1], shape[2], shape[3]],
    }),
  };
}

async function digits(config: Extract<DataConfig, { kind: 'digits' }>): Promise<TrainingData> {
  const { flip, ...source } = config;
  const images = await openImages(source as ImageSource);
  const { count, height, width, channels, classes } = images;
  return {
    ...{ count, height, width, channels, classes, captioned: 0, captions: [], fingerprint: fingerprint(images) },
    report: [`Data: ${count} images of ${height} x ${width} in ${countsOf(classes, images.labels)}`],
    ...(source.part === 'train' && { heldOut: heldOutOf(await openImages({ kind: 'digits', part: 'held-out' })) }),
    open: (options) => ({ ...batches(images, { ...options, flip }), close: async () => undefined }),
    first: async (n) => slice(images, n),
  };
}

async function folder(config: Extract<DataConfig, { kind: 'folder' }>): Promise<TrainingData> {
  const { path, size, channels, crop, flip, buckets, threads, labels } = config;
  const folderClasses = labels === 'none' ? 'never' : 'auto';
  const found = await openDataset(path, { folderClasses });
  // Of larger sets a damaged picture is found when its turn comes.
  const all = found.examples.length > MOST_CHECKED ? found : await withoutDamaged(found, { threads });
  const { train: set, heldOut } = await splitOf(all, config);
  const { classes, captioned } = set;
  const counts = countsOf(
    classes,
    set.examples.map(({ label }) => label),
  );
  const held = heldOut === undefined ? '' : `; ${heldOut.examples.length} more are held out`;
  const captionsOf = ({ examples }: Dataset) => examples.map(({ captions }) => captions);
  const namesOf = ({ examples }: Dataset) => examples.map(({ name }) => name);
  return {
    ...{ count: set.examples.length, height: size, width: size, channels, classes, captioned },
    ...{ fingerprint: set.fingerprint, names: namesOf(set), captions: captionsOf(set) },
    report: [
      `Data: ${set.examples.length} pictures${classes.length > 0 ? ` in ${counts}` : ''}${captioned > 0 ? `, ${captioned} with captions` : ''}${held}`,
      ...(set.skipped.length > 0 ? [`Passed over: ${set.skipped.join('; ')}`] : []),
      ...(heldOut && config.heldOutPath !== undefined && heldOut.skipped.length > 0
        ? [`Passed over in ${config.heldOutPath}: ${heldOut.skipped.join('; ')}`]
        : []),
    ],
    ...(heldOut && {
      heldOut: {
        ...heldOutOf(await readExamples(heldOut, { size, channels }), captionsOf(heldOut)),
        names: namesOf(heldOut),
      },
    }),
    open: ({ batchSize, seed, share }) =>
      exampleStream(set, {
        ...{ batchSize, seed, size, channels, crop, flip, threads },
        ...(buckets && { buckets }),
        ...(share && { share }),
      }),
    first: (n) => readExamples({ ...set, examples: set.examples.slice(0, n) }, { size, channels }),
  };
}

/** A data set and what is held out of it, or what another folder holds out, without its damaged pictures. */
export async function splitOf(
  all: Dataset,
  {
    heldOut,
    heldOutSeed,
    heldOutPath,
    labels,
  }: Pick<Extract<DataConfig, { kind: 'folder' }>, 'heldOut' | 'heldOutSeed' | 'heldOutPath' | 'labels'>,
): Promise<{ train: Dataset; heldOut?: Dataset }> {
  if (heldOutPath !== undefined) {
    const other = await openDataset(heldOutPath, { folderClasses: labels === 'none' ? 'never' : 'auto' });
    if (String(other.classes) !== String(all.classes)) {
      const named = (set: Dataset) => set.classes.map((name) => quoted(name)).join(', ') || 'none';
      throw new InvalidArgumentError(
        'data.heldOutPath',
        `${heldOutPath}: expected the classes of ${all.path} (${named(all)}), got ${named(other)}`,
      );
    }
    const few = other.examples.length > MOST_HELD_OUT ? splitDataset(other, MOST_HELD_OUT, heldOutSeed).heldOut : other;
    return { train: all, heldOut: await withoutDamaged(few) };
  }
  const wanted = Math.min(Math.ceil(heldOut * all.examples.length), MOST_HELD_OUT);
  if (wanted === 0 || all.examples.length < 2) return { train: all };
  return splitDataset(all, Math.min(wanted, all.examples.length - 1), heldOutSeed);
}

function heldOutOf(images: ImageSet, captions: HeldOut['captions'] = []): HeldOut {
  const { count, height, width, channels, labels } = images;
  const area = height * width * channels;
  return {
    ...{ count, captions, images },
    batch: (first, n) => ({
      images: toFloat(images.images.subarray(first * area, (first + n) * area)),
      labels: labels.slice(first, first + n),
      captions: Array.from({ length: n }, (_, i) => captions[first + i]?.[0] ?? ''),
      shape: [n, height, width, channels],
    }),
  };
}

function slice(set: ImageSet, count: number): ImageSet {
  const n = Math.min(count, set.count);
  const area = set.height * set.width * set.channels;
  return { ...set, count: n, images: set.images.subarray(0, n * area), labels: set.labels.subarray(0, n) };
}

function countsOf(classes: readonly string[], labels: ArrayLike<number>): string {
  const counts = new Int32Array(classes.length);
  for (const label of Array.from(labels)) counts[label]!++;
  const named = listed(
    classes.map((name, label) => `${name} ${counts[label]}`),
    10,
  );
  return `${classes.length} ${classes.length === 1 ? 'class' : 'classes'}: ${named}`;
}
