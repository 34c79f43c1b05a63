import { type ImageSource, openImages } from '@mezzotint/app';
import { InvalidArgumentError, listed, quoted, type Seed } from '@mezzotint/core';
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
  toFloat,
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
  /** All captions of each example; empty lists where there are none. */
  readonly captions: readonly (readonly string[])[];
  /** What is not trained on, in memory; undefined where nothing is held out. */
  readonly heldOut?: HeldOut;
  open(options: { readonly batchSize: number; readonly seed: Seed }): TrainingBatches;
  /** The first pictures, to show and to look at. */
  first(count: number): Promise<ImageSet>;
}

/** Examples that are not trained on, in memory. */
export interface HeldOut {
  readonly count: number;
  /** All captions of each; empty lists where there are none. */
  readonly captions: readonly (readonly string[])[];
  readonly images: ImageSet;
  /** `count` of them from `first` on, each with its first caption. */
  batch(first: number, count: number): TrainingBatch;
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
  const { train: set, heldOut } = await splitOf(await openDataset(path, { folderClasses }), config);
  const { classes, captioned } = set;
  const counts = countsOf(
    classes,
    set.examples.map(({ label }) => label),
  );
  const held = heldOut === undefined ? '' : `; ${heldOut.examples.length} more are held out`;
  const captionsOf = ({ examples }: Dataset) => examples.map(({ captions }) => captions);
  return {
    ...{ count: set.examples.length, height: size, width: size, channels, classes, captioned },
    ...{ fingerprint: set.fingerprint, captions: captionsOf(set) },
    report: [
      `Data: ${set.examples.length} pictures${classes.length > 0 ? ` in ${counts}` : ''}${captioned > 0 ? `, ${captioned} with captions` : ''}${held}`,
      ...(set.skipped.length > 0 ? [`Passed over: ${set.skipped.join('; ')}`] : []),
    ],
    ...(heldOut && {
      heldOut: heldOutOf(await firstOf(heldOut, heldOut.examples.length, size, channels), captionsOf(heldOut)),
    }),
    open: ({ batchSize, seed }) =>
      exampleStream(set, { ...{ batchSize, seed, size, channels, crop, flip, threads }, ...(buckets && { buckets }) }),
    first: (n) => firstOf(set, n, size, channels),
  };
}

/** A data set and what is held out of it, or what another folder holds out. */
async function splitOf(
  all: Dataset,
  { heldOut, heldOutPath, labels }: Extract<DataConfig, { kind: 'folder' }>,
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
    return {
      train: all,
      heldOut: other.examples.length > MOST_HELD_OUT ? splitDataset(other, MOST_HELD_OUT, 0).heldOut : other,
    };
  }
  const wanted = Math.min(Math.ceil(heldOut * all.examples.length), MOST_HELD_OUT);
  if (wanted === 0 || all.examples.length < 2) return { train: all };
  return splitDataset(all, Math.min(wanted, all.examples.length - 1), 0);
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
