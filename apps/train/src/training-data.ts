import { type ImageSource, openImages } from '@mezzotint/app';
import { listed } from '@mezzotint/core';
import {
  batches,
  type Dataset,
  type ExampleBatch,
  exampleStream,
  fingerprint,
  type ImageBatch,
  type ImageSet,
  openDataset,
  splitDataset,
  toBytes,
} from '@mezzotint/data';
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
  readonly channels: 1 | 3;
  /** Empty where nothing says a class. */
  readonly classes: readonly string[];
  /** How many pictures have a caption. */
  readonly captioned: number;
  /** Changes when anything that is trained on does. */
  readonly fingerprint: string;
  /** What was read, what was not, and why: lines for people. */
  readonly report: readonly string[];
  /** Pictures that are not trained on, in memory; undefined where none are held out. */
  readonly heldOut?: ImageSet;
  open(options: { readonly batchSize: number; readonly seed: number }): TrainingBatches;
  /** The first pictures, to show and to look at. */
  first(count: number): Promise<ImageSet>;
}

/** Most pictures that are held out: more tell no more of the loss, and they are kept in memory. */
const MOST_HELD_OUT = 512;

/** Opens the data of a configuration. */
export async function openTrainingData(config: DataConfig): Promise<TrainingData> {
  switch (config.kind) {
    case 'digits':
      return digits(config);
    case 'folder':
      return folder(config);
  }
}

async function digits(config: Extract<DataConfig, { kind: 'digits' }>): Promise<TrainingData> {
  const { flip, ...source } = config;
  const images = await openImages(source as ImageSource);
  const { count, height, width, channels, classes } = images;
  return {
    ...{ count, height, width, channels, classes, captioned: 0, fingerprint: fingerprint(images) },
    report: [`Data: ${count} images of ${height} x ${width} in ${countsOf(classes, images.labels)}`],
    ...(source.part === 'train' && { heldOut: await openImages({ kind: 'digits', part: 'held-out' }) }),
    open: (options) => ({ ...batches(images, { ...options, flip }), close: async () => undefined }),
    first: async (n) => slice(images, n),
  };
}

async function folder(config: Extract<DataConfig, { kind: 'folder' }>): Promise<TrainingData> {
  const { path, size, channels, crop, flip, buckets, heldOut, threads, labels } = config;
  const all = await openDataset(path, { folderClasses: labels === 'none' ? 'never' : 'auto' });
  const wanted = Math.min(Math.ceil(heldOut * all.examples.length), MOST_HELD_OUT);
  const split =
    wanted > 0 && all.examples.length > 1 ? splitDataset(all, Math.min(wanted, all.examples.length - 1), 0) : undefined;
  const set = split?.train ?? all;
  const { classes, captioned } = set;
  const counts = countsOf(
    classes,
    set.examples.map(({ label }) => label),
  );
  const held = split === undefined ? '' : `; ${split.heldOut.examples.length} more are held out`;
  return {
    ...{ count: set.examples.length, height: size, width: size, channels, classes, captioned },
    fingerprint: set.fingerprint,
    report: [
      `Data: ${set.examples.length} pictures${classes.length > 0 ? ` in ${counts}` : ''}${captioned > 0 ? `, ${captioned} with captions` : ''}${held}`,
      ...(all.skipped.length > 0 ? [`Passed over: ${all.skipped.join('; ')}`] : []),
    ],
    ...(split && { heldOut: await firstOf(split.heldOut, split.heldOut.examples.length, size, channels) }),
    open: ({ batchSize, seed }) =>
      exampleStream(set, { ...{ batchSize, seed, size, channels, crop, flip, threads }, ...(buckets && { buckets }) }),
    first: (n) => firstOf(set, n, size, channels),
  };
}

/** The first pictures of a data set, decoded. */
async function firstOf(set: Dataset, count: number, size: number, channels: 1 | 3): Promise<ImageSet> {
  const examples = set.examples.slice(0, count);
  const one = { batchSize: examples.length, seed: 0, size, channels, threads: 0, ahead: 0, cacheBytes: 0 };
  const { images, indices } = await exampleStream({ ...set, examples }, one).next();
  const area = size * size * channels;
  const sorted = new Uint8Array(images.length);
  indices.forEach((index, n) => {
    sorted.set(toBytes(images.subarray(n * area, (n + 1) * area)), index * area);
  });
  const labels = Int32Array.from(examples, ({ label }) => label);
  return { images: sorted, labels, classes: set.classes, count: examples.length, height: size, width: size, channels };
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
