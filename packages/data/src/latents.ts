import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  deriveSeed,
  InvalidArgumentError,
  InvalidFileError,
  NumpyRandomState,
  parseJson,
  quoted,
  readingBudget,
  type Seed,
  seedPlus,
  TorchGenerator,
} from '@mezzotint/core';
import { openPlainFile, readPlainFile, readPlainText, replaceFolder, writeFileAtomically } from '@mezzotint/core/node';
import { mirror } from './augment.js';
import { type BatchPlace, type BatchShare, checkShare, nextPlace, partAt, WHOLE } from './batch-share.js';
import { epochOrder, type ImageBatch } from './batches.js';
import type { ExampleBatch, ExampleStream, ExampleStreamState } from './example-stream.js';

/** What a folder of latent images is: its `index.json`. */
export interface LatentsIndex {
  readonly format: 'mezzotint/latents@1';
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly classes: readonly string[];
  /** Mean and deviation of each channel over the whole set, of samples; a network is trained on (z - mean) / deviation. */
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** Images in each shard but the last. */
  readonly perShard: number;
  /** Whether each image was encoded mirrored left-right, too. */
  readonly mirrored?: boolean;
  /** SHA-256 over the shards, classes and captions. */
  readonly fingerprint: string;
  /** What encoded it, for people: the name of the autoencoder. */
  readonly encoder: string;
  /** Height, width and channels of the images themselves. */
  readonly image: readonly [number, number, number];
  /** All captions of each image; empty in a set without captions. */
  readonly captions: readonly (readonly string[])[];
}

/** What an encoded set is beside its images. */
export interface EncodeOptions {
  readonly classes: readonly string[];
  readonly encoder: string;
  /** All captions of the examples that the batches' `indices` name; the one of each batch when absent. */
  readonly captions?: readonly (readonly string[])[];
  /** Encodes each image mirrored left-right, too (an autoencoder does not mirror its latent image): twice the time and the bytes. */
  readonly mirrored?: boolean;
  /** Images in a shard; when absent 1024, or as many as are within 256 MiB: training keeps a few shards in memory. */
  readonly perShard?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** An encoder's answer for a batch: a Gaussian an image, NHWC each. */
export interface EncodedBatch {
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
  /** `[N, h, w, c]`. */
  readonly shape: readonly [number, number, number, number];
}

const INDEX = 'index.json';
const shardName = (i: number) => `latents-${String(i).padStart(5, '0')}.bin`;

/**
 * Encodes a data set once: each image becomes the mean and the deviation of its latent image, as float32 in shards
 * (`latents-00000.bin`: labels, means, deviations, then with `mirrored` means and deviations of the mirrored images), with `index.json` last, so that a folder with an index is whole. Memory is that of
 * one shard.
 *
 * @param stream gives every image once (`crop: 'center'`, no flip); its first epoch is read
 * @returns the index
 * @throws InvalidArgumentError when latent images differ in shape, there is none, or `perShard` of them would be larger than training reads
 */
export async function encodeLatents(
  folder: string,
  stream: Pick<ExampleStream, 'next' | 'batchesPerEpoch'>,
  encode: (batch: ImageBatch) => Promise<EncodedBatch>,
  { classes, encoder, captions: all, mirrored = false, perShard: asked, onProgress }: EncodeOptions,
): Promise<LatentsIndex> {
  const partial = `${resolve(folder)}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const hash = createHash('sha256');
  const captions: (readonly string[])[] = [];
  let image: LatentsIndex['image'] | undefined;
  /** The Gaussians of an image: as it is, and mirrored. */
  let rows: { readonly label: number; readonly gaussians: readonly Gaussian[] }[] = [];
  let shape: readonly [number, number, number] | undefined;
  let sums: { sum: Float64Array; square: Float64Array } | undefined;
  let [count, shards, perShard] = [0, 0, 0];
  const flush = async () => {
    if (rows.length === 0) return;
    const bytes = Buffer.concat(
      [
        Int32Array.from(rows, ({ label }) => label),
        ...(mirrored ? [0, 1] : [0]).flatMap((k) => [
          ...rows.map(({ gaussians }) => gaussians[k]!.mean),
          ...rows.map(({ gaussians }) => gaussians[k]!.deviation),
        ]),
      ].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)),
    );
    hash.update(bytes);
    await writeFileAtomically(join(partial, shardName(shards++)), bytes);
    rows = [];
  };
  for (let k = 0; k < stream.batchesPerEpoch; k++) {
    const batch = await stream.next();
    const forms = [await encode(batch), ...(mirrored ? [await encode(mirroredBatch(batch))] : [])];
    const [n, height, width, channels] = forms[0]!.shape;
    shape ??= [height, width, channels];
    image ??= [batch.shape[1], batch.shape[2], batch.shape[3]];
    if (String(shape) !== String([height, width, channels])) {
      throw new InvalidArgumentError(
        'encodeLatents',
        `latent images of [${shape}] and of [${[height, width, channels]}]`,
      );
    }
    perShard ||= imagesPerShard({ height, width, channels, mirrored }, asked);
    sums ??= { sum: new Float64Array(channels), square: new Float64Array(channels) };
    const area = height * width * channels;
    for (let i = 0; i < n; i++) {
      const part = (whole: Float32Array) => whole.slice(i * area, (i + 1) * area);
      const gaussians = forms.map(({ mean, deviation }) => ({ mean: part(mean), deviation: part(deviation) }));
      for (const { mean, deviation } of gaussians) {
        mean.forEach((m, e) => {
          sums!.sum[e % channels]! += m;
          sums!.square[e % channels]! += m * m + deviation[e]! ** 2; // E z^2 of a sample
        });
      }
      rows.push({ label: batch.labels[i]!, gaussians });
      captions.push(captionsOf(batch, i, all));
      if (rows.length === perShard) await flush();
    }
    count += n;
    onProgress?.(k + 1, stream.batchesPerEpoch);
  }
  await flush();
  if (shape === undefined || sums === undefined || image === undefined)
    throw new InvalidArgumentError('encodeLatents', 'the stream gave no image');
  const perChannel = count * shape[0] * shape[1] * (mirrored ? 2 : 1);
  const mean = Array.from(sums.sum, (s) => s / perChannel);
  const index: LatentsIndex = {
    format: 'mezzotint/latents@1',
    ...{ count, height: shape[0], width: shape[1], channels: shape[2], classes, perShard, encoder, image },
    mean,
    ...(mirrored && { mirrored }),
    deviation: Array.from(sums.square, (s, c) => Math.sqrt(Math.max(s / perChannel - mean[c]! ** 2, 1e-12))),
    fingerprint: hash.update(JSON.stringify([classes, captions])).digest('hex'),
    captions: captions.some((own) => own.length > 0) ? captions : [],
  };
  await writeFileAtomically(join(partial, INDEX), Buffer.from(JSON.stringify(index)));
  await replaceFolder(partial, folder);
  return index;
}

/** Images in a shard when nobody says how many, and the bytes that they are within. */
const PER_SHARD = 1024;
const SHARD_BYTES = 2 ** 28;

/** How many images of a shape a shard has. @throws InvalidArgumentError when that is no number of them, or more than a training reads */
export function imagesPerShard(
  shape: Parameters<typeof rowBytes>[0],
  asked = Math.max(Math.min(PER_SHARD, Math.floor(SHARD_BYTES / rowBytes(shape))), 1),
): number {
  const most = Math.floor(readingBudget.latentShardBytes / rowBytes(shape));
  if (Number.isSafeInteger(asked) && asked >= 1 && asked <= most) return asked;
  const of = `latent images of ${shape.height} x ${shape.width} x ${shape.channels}`;
  throw new InvalidArgumentError('encodeLatents', `expected perShard to be from 1 to ${most} ${of}, got ${asked}`);
}

/** The Gaussian of a latent image. */
type Gaussian = Pick<EncodedBatch, 'mean' | 'deviation'>;

/** The same batch, its images mirrored left-right. */
function mirroredBatch(batch: ImageBatch): ImageBatch {
  const [n, height, width, channels] = batch.shape;
  const images = new Float32Array(batch.images.length);
  const area = height * width * channels;
  for (let i = 0; i < n; i++) {
    const [from, to] = [batch.images, images].map((all) => all.subarray(i * area, (i + 1) * area));
    mirror(from!, to!, { height, width, channels }, true, false);
  }
  return { ...batch, images };
}

/** All captions of an image of a batch, or the one that came with it. */
function captionsOf(batch: ImageBatch, i: number, all: EncodeOptions['captions']): readonly string[] {
  const { captions = [], indices } = batch as Partial<ExampleBatch>;
  const own = indices === undefined ? undefined : all?.[indices[i]!];
  return own ?? (captions[i] ? [captions[i]] : []);
}

/**
 * Reads the index of a folder that {@link encodeLatents} made.
 *
 * @throws InvalidFileError when it is none, or a shard is missing or has another size than it says
 */
export function readLatentsIndex(folder: string): LatentsIndex {
  const path = join(folder, INDEX);
  let index: LatentsIndex;
  try {
    index = parseJson(readPlainText(path, readingBudget.listBytes)) as LatentsIndex;
  } catch (cause) {
    if (InvalidFileError.isInstance(cause)) throw cause;
    throw new InvalidFileError(path, `is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (index?.format !== 'mezzotint/latents@1') throw new InvalidFileError(path, 'is not the index of latent images');
  const numbers = [index.count, index.height, index.width, index.channels, index.perShard];
  if (!numbers.every((n) => Number.isSafeInteger(n) && n > 0 && n < 2 ** 31)) {
    const got = numbers.map((value) => quoted(value)).join(', ');
    throw new InvalidFileError(path, `expected positive counts and sizes, got ${got}`);
  }
  const perChannel = (values: unknown) =>
    Array.isArray(values) && values.length === index.channels && values.every(Number.isFinite);
  if (!perChannel(index.mean) || !perChannel(index.deviation) || !index.deviation.every((value) => value > 0)) {
    throw new InvalidFileError(path, `expected a mean and a deviation above 0 for each of ${index.channels} channels`);
  }
  const texts = (values: unknown) => Array.isArray(values) && values.every((value) => typeof value === 'string');
  if (!texts(index.classes) || !Array.isArray(index.captions) || !index.captions.every(texts)) {
    throw new InvalidFileError(path, 'expected a list of texts for classes, and one for the captions of each image');
  }
  if (index.mirrored !== undefined && typeof index.mirrored !== 'boolean') {
    throw new InvalidFileError(path, `expected mirrored to be true or false, got ${quoted(index.mirrored)}`);
  }
  const [height, width, channels] = Array.isArray(index.image) ? index.image : [];
  if (![height, width, channels].every((n) => Number.isSafeInteger(n) && n! > 0 && n! < 2 ** 31)) {
    throw new InvalidFileError(path, 'expected height, width and channels of the images in image');
  }
  if (index.captions.length !== 0 && index.captions.length !== index.count) {
    throw new InvalidFileError(path, `expected captions of all ${index.count} images or of none`);
  }
  for (let i = 0; i * index.perShard < index.count; i++) {
    const file = join(folder, shardName(i));
    const { handle, size } = openPlainFile(file);
    closeSync(handle);
    const rows = Math.min(index.perShard, index.count - i * index.perShard);
    const expected = rows * rowBytes(index);
    if (size !== expected) throw new InvalidFileError(file, `expected ${expected} bytes, got ${size}`);
  }
  return index;
}

/** Bytes of an image in a shard: its label, and mean and deviation of each number, once or twice. */
function rowBytes({
  height,
  width,
  channels,
  mirrored = false,
}: Pick<LatentsIndex, 'height' | 'width' | 'channels' | 'mirrored'>): number {
  return 4 + 8 * height * width * channels * (mirrored ? 2 : 1);
}

/** How latent images become batches. */
export interface LatentStreamOptions {
  readonly batchSize: number;
  readonly seed: Seed;
  /**
   * Gives each image or its mirrored one, decided anew in each epoch; when absent, where the images were encoded so (`mirrored` of
   * {@link encodeLatents}).
   */
  readonly flip?: boolean;
  /** Shards that are kept in memory; 4 when absent. */
  readonly shards?: number;
  /** Mean and deviation of each channel by which images are normalised; those of the index when absent (others for held-out images). */
  readonly mean?: readonly number[];
  readonly deviation?: readonly number[];
  /** The parts that one of several processes takes; whole batches when absent. State then is of whole updates. */
  readonly share?: BatchShare;
}

/** A batch of latent images: `images` are (mean + deviation n - mean of the set) / deviation of the set. */
export interface LatentBatch extends ImageBatch {
  /** One caption of each image, '' where there is none. */
  readonly captions: readonly string[];
}

/**
 * Shuffled batches of latent images without end, a new sample of each Gaussian in each epoch. As `exampleStream`, it goes on
 * from a state with the batch that would have come.
 *
 * @throws InvalidArgumentError for a batch size that does not fit, or `flip` of images that were not encoded mirrored
 */
export function latentStream(folder: string, options: LatentStreamOptions) {
  const index = readLatentsIndex(folder);
  const { flip = index.mirrored === true } = options;
  const { batchSize, seed, shards = 4, mean = index.mean, deviation = index.deviation, share = WHOLE } = options;
  const { count, height, width, channels, perShard } = index;
  if (!Number.isSafeInteger(batchSize) || batchSize < 1 || batchSize > count) {
    throw new InvalidArgumentError('latentStream', `expected a batchSize from 1 to ${count}, got ${batchSize}`);
  }
  if (flip && !index.mirrored) {
    throw new InvalidArgumentError(
      'latentStream',
      `flip: ${folder} has no mirrored latent images; encode the pictures again with mirrored: true`,
    );
  }
  checkShare('latentStream', share, batchSize);
  const area = height * width * channels;
  const batchesPerEpoch = Math.floor(count / batchSize);
  // Without flips as it was before there were any.
  const of = { fingerprint: index.fingerprint, batchSize, seed: seedPlus(seed, 0), ...(flip && { flip }) };
  const kept = new Map<number, Buffer>();
  const shard = (i: number) => {
    let bytes = kept.get(i);
    if (bytes === undefined) {
      bytes = Buffer.from(readPlainFile(join(folder, shardName(i)), readingBudget.latentShardBytes));
      if (kept.size >= shards) kept.delete(kept.keys().next().value!);
      kept.set(i, bytes);
    }
    return bytes;
  };
  let place: BatchPlace = { epoch: 0, batch: 0, taken: 0 };
  let order: ReturnType<typeof drawEpoch> | undefined;
  const drawEpoch = (epoch: number) => {
    const draw = (what: string) => new NumpyRandomState(deriveSeed(seed, `${what}/${epoch}`)).rand(count);
    const indices = shardedOrder(count, perShard, seed, epoch);
    return { epoch, indices, caption: draw('caption'), flip: flip ? draw('flip') : undefined };
  };
  return {
    index,
    batchesPerEpoch,
    async next(): Promise<LatentBatch> {
      const { epoch, batch, rows } = partAt(place, share, batchesPerEpoch);
      const [from, to] = rows(batchSize);
      const size = to - from;
      if (order?.epoch !== epoch) order = drawEpoch(epoch);
      const drawn = order;
      const chosen = drawn.indices.subarray(batch * batchSize + from, batch * batchSize + to);
      const draws = new TorchGenerator(deriveSeed(seed, `latents/${epoch}/${batch}`)).randn(batchSize * area);
      const noise = draws.subarray(from * area);
      const images = new Float32Array(size * area);
      const labels = new Int32Array(size);
      chosen.forEach((i, n) => {
        const bytes = shard(Math.floor(i / perShard));
        const row = i % perShard;
        const inShard = bytes.length / rowBytes(index);
        labels[n] = bytes.readInt32LE(4 * row);
        // Behind the labels: means, deviations, and those of the mirrored images.
        const form = drawn.flip !== undefined && drawn.flip[i]! < 0.5 ? 2 : 0;
        const at = (block: number) => 4 * inShard + 4 * area * (inShard * block + row);
        const [means, deviations] = [at(form), at(form + 1)];
        for (let e = 0; e < area; e++) {
          const z = bytes.readFloatLE(means + 4 * e) + bytes.readFloatLE(deviations + 4 * e) * noise[n * area + e]!;
          images[n * area + e] = (z - mean[e % channels]!) / deviation[e % channels]!;
        }
      });
      place = nextPlace(place, share, batchesPerEpoch);
      const captions = Array.from(chosen, (i) => {
        const own = index.captions[i] ?? [];
        return own[Math.floor(drawn.caption[i]! * own.length)] ?? '';
      });
      return { images, labels, captions, shape: [size, height, width, channels] };
    },
    state: (): ExampleStreamState => ({ epoch: place.epoch, batch: place.batch, of }),
    resume(state: unknown): void {
      const { epoch = -1, batch = -1, of: its } = (state ?? {}) as Partial<ExampleStreamState>;
      const now: ExampleStreamState['of'] = of;
      const wrong = Object.keys({ ...of, ...its })
        .filter((key) => its?.[key] !== now[key])
        .map((key) => `${key}: the state is of ${its?.[key]}, these latents are of ${now[key]}`);
      if (!Number.isSafeInteger(epoch) || epoch < 0) wrong.push(`expected an epoch from 0, got ${epoch}`);
      if (!Number.isInteger(batch) || batch < 0 || batch >= batchesPerEpoch) {
        wrong.push(`expected a batch in [0, ${batchesPerEpoch}), got ${batch}`);
      }
      if (wrong.length > 0) throw new InvalidArgumentError('latentStream.resume', wrong);
      place = { epoch, batch, taken: 0 };
    },
    async close(): Promise<void> {
      kept.clear();
    },
  };
}

/** Shards in a random order, four at a time shuffled together, so that few are in memory at once. */
function shardedOrder(count: number, perShard: number, seed: Seed, epoch: number): Int32Array {
  const shards = epochOrder(Math.ceil(count / perShard), deriveSeed(seed, 'shards'), epoch);
  const out = new Int32Array(count);
  let at = 0;
  for (let first = 0; first < shards.length; first += 4) {
    const group = Array.from(shards.subarray(first, first + 4)).flatMap((s) =>
      Array.from({ length: Math.min(perShard, count - s * perShard) }, (_, i) => s * perShard + i),
    );
    const mixed = new NumpyRandomState(deriveSeed(seed, `latents/${epoch}/${first}`)).permutation(group.length);
    for (const i of mixed) out[at++] = group[i]!;
  }
  return out;
}
