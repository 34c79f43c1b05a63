import { deriveSeed, InvalidArgumentError, isSeed, NumpyRandomState, type Seed, seedPlus } from '@mezzotint/core';
import { type BatchPlace, type BatchShare, checkShare, nextPlace, partAt, WHOLE } from './batch-share.js';
import { epochOrder, type ImageBatch } from './batches.js';
import type { Bitmap } from './bitmap.js';
import type { Dataset, Example } from './dataset.js';
import { type Decoder, decodingThreads } from './decode-example.js';
import type { ImageSet } from './image-set.js';
import { toBytes } from './pixels.js';
import type { ImageSize } from './resize.js';

/** A batch of a data set. */
export interface ExampleBatch extends ImageBatch {
  /** One caption of each picture, '' where there is none. */
  readonly captions: readonly string[];
  /** Indices into `dataset.examples`. */
  readonly indices: Int32Array;
}

/** How a data set becomes batches. */
export interface ExampleStreamOptions {
  readonly batchSize: number;
  /** Seed of order, crops, flips and choice of captions. */
  readonly seed: Seed;
  /** Pixels a side of square pictures; with `buckets`, the side of the square that has the area of each. */
  readonly size: number;
  readonly channels: 1 | 3;
  /** The shorter side becomes `size`; the rest is cut in the `center` (default) or at `random`, decided anew in each epoch. */
  readonly crop?: 'center' | 'random';
  /** Mirror each picture left-right with probability 1/2, decided anew in each epoch. Wrong for text. Default false. */
  readonly flip?: boolean;
  /**
   * Aspect buckets: pictures keep nearly their shape. Sides are multiples of `step` pixels, the area is about `size`^2 and no side is
   * more than `ratio` (2 when absent) times the other; a batch is of one bucket. NovelAI 2022, "aspect ratio bucketing".
   */
  readonly buckets?: { readonly step: number; readonly ratio?: number };
  /** What becomes of the pictures left at the end of an epoch: `drop` (default; they come in another) or `keep` as a smaller batch. */
  readonly last?: 'drop' | 'keep';
  /** Threads that decode; 1 when absent, 0 decodes in this thread. */
  readonly threads?: number;
  /** Batches that are made ahead; 2 when absent. */
  readonly ahead?: number;
  /** Bytes of resized pictures that are kept for the next epochs; 256 MiB when absent. More is not kept, however large the set. */
  readonly cacheBytes?: number;
  /** The parts that one of several processes takes; whole batches when absent. State then is of whole updates. */
  readonly share?: BatchShare;
}

/** Where a stream stands: JSON. */
export interface ExampleStreamState {
  readonly epoch: number;
  /** Number of the next batch in its epoch. */
  readonly batch: number;
  /** Of what; a state resumes only the same. */
  readonly of: Readonly<Record<string, string | number | boolean>>;
}

/** Endless batches, epoch after epoch, made ahead of their use. */
export interface ExampleStream {
  readonly batchesPerEpoch: number;
  /** Sizes of the batches that come, and how many pictures have each. */
  readonly sizes: readonly (ImageSize & { readonly count: number })[];
  next(): Promise<ExampleBatch>;
  state(): ExampleStreamState;
  /**
   * Goes to a place that `state()` gave, also after JSON.
   *
   * @throws InvalidArgumentError when it is no state, or of other data or other options; nothing changes then
   */
  resume(state: unknown): void;
  /** Ends the decoding threads. */
  close(): Promise<void>;
}

/** Pictures of one size. */
interface Bucket extends ImageSize {
  readonly members: number[];
}

/** One batch to be made. */
interface Plan extends ImageSize {
  readonly indices: Int32Array;
}

/**
 * Shuffled batches of a data set without end, decoded in threads a few batches ahead, in memory that does not grow with
 * the set. The same set, options and state give the same batches, bit for bit. Pictures that are left at the end of an epoch
 * come in another; with buckets a batch is filled up with the first pictures of its bucket.
 *
 * @throws InvalidArgumentError when a number is out of range, or the set is smaller than a batch
 */
export function exampleStream(set: Dataset, options: ExampleStreamOptions): ExampleStream {
  check(set, options);
  const { batchSize, seed, size, channels, crop = 'center', flip = false, last = 'drop', buckets: wanted } = options;
  const { threads = 1, ahead = 2, cacheBytes = 2 ** 28, share = WHOLE } = options;
  checkShare('exampleStream', share, batchSize);
  const buckets = bucketsOf(set, options);
  const full = (count: number) =>
    wanted === undefined && last === 'drop' ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
  const batchesPerEpoch = buckets.reduce((sum, { members }) => sum + full(members.length), 0);
  const of = {
    ...{ fingerprint: set.fingerprint, batchSize, seed: seedPlus(seed, 0), size, channels, crop, flip },
    ...(wanted && { step: wanted.step, ratio: wanted.ratio ?? 2 }),
    ...(last === 'keep' && { last }),
  };
  const pictures = new PictureCache(decodingThreads(threads), channels, cacheBytes);
  let plans: { readonly epoch: number; readonly list: readonly Plan[] } | undefined;
  const planOf = (epoch: number, batch: number) => {
    if (plans?.epoch !== epoch)
      plans = { epoch, list: planEpoch(buckets, batchSize, seed, epoch, wanted !== undefined ? 'fill' : last) };
    return plans.list[batch]!;
  };
  let drawn: ReturnType<typeof epochDraws> | undefined;
  const drawsOf = (epoch: number) => {
    if (drawn?.epoch !== epoch) drawn = epochDraws(set.examples.length, seed, epoch);
    return drawn;
  };
  const make = async (at: BatchPlace): Promise<ExampleBatch> => {
    const { epoch, batch, rows } = partAt(at, share, batchesPerEpoch);
    const { indices: all, height, width } = planOf(epoch, batch);
    const indices = all.subarray(...rows(all.length));
    const draws = drawsOf(epoch);
    const area = height * width * channels;
    const images = new Float32Array(indices.length * area);
    const labels = Int32Array.from(indices, (i) => set.examples[i]!.label);
    const parts = Array.from(indices, async (i, n) => {
      const example = set.examples[i]!;
      const picture = await pictures.get(i, example, { height, width });
      const place = crop === 'random' ? { y: draws.y[i]!, x: draws.x[i]! } : undefined;
      cut(picture, { height, width }, place, flip && draws.flip[i]! < 0.5, images.subarray(n * area, (n + 1) * area));
    });
    await Promise.all(parts);
    const captions = Array.from(indices, (i) => {
      const { captions } = set.examples[i]!;
      return captions[Math.floor(draws.caption[i]! * captions.length)] ?? '';
    });
    return { images, labels, captions, indices, shape: [indices.length, height, width, channels] };
  };

  let place: BatchPlace = { epoch: 0, batch: 0, taken: 0 };
  const after = (at: BatchPlace) => nextPlace(at, share, batchesPerEpoch);
  /** Batches under way, the next first. */
  let queue: { readonly at: BatchPlace; readonly batch: Promise<ExampleBatch> }[] = [];
  const fill = () => {
    let at = queue.length === 0 ? place : after(queue.at(-1)!.at);
    while (queue.length < Math.max(ahead, 1)) {
      const batch = make(at);
      batch.catch(() => undefined); // the caller who waits for it gets the error
      queue.push({ at, batch });
      at = after(at);
    }
  };
  return {
    batchesPerEpoch,
    sizes: buckets.map(({ height, width, members }) => ({ height, width, count: members.length })),
    async next() {
      fill();
      const batch = await queue[0]!.batch;
      queue.shift();
      place = after(place);
      if (ahead > 0) fill();
      return batch;
    },
    state: () => ({ epoch: place.epoch, batch: place.batch, of }),
    resume(state) {
      const wrong = problemsOf(state, of, batchesPerEpoch);
      if (wrong.length > 0) throw new InvalidArgumentError('exampleStream.resume', wrong);
      const { epoch, batch } = state as ExampleStreamState;
      place = { epoch, batch, taken: 0 };
      queue = [];
    },
    close: () => pictures.close(),
  };
}

/**
 * All pictures of a data set at once, in their order, the middle square of each at `size`: for a set that fits into memory.
 *
 * @throws InvalidArgumentError when the set is empty or `size` is out of range
 */
export async function readExamples(
  set: Dataset,
  { size, channels }: { readonly size: number; readonly channels: 1 | 3 },
): Promise<ImageSet> {
  const { examples, classes } = set;
  const count = examples.length;
  const whole = { batchSize: count, seed: 0, size, channels, threads: 0, ahead: 0, cacheBytes: 0 };
  const stream = exampleStream(set, whole);
  const { images, indices } = await stream.next();
  await stream.close();
  const area = size * size * channels;
  const bytes = new Uint8Array(images.length);
  for (const [n, index] of indices.entries()) {
    bytes.set(toBytes(images.subarray(n * area, (n + 1) * area)), index * area);
  }
  const labels = Int32Array.from(examples, ({ label }) => label);
  return { images: bytes, labels, classes, count, height: size, width: size, channels };
}

/** Resized pictures, the first ones that fit kept. */
class PictureCache {
  readonly #kept = new Map<number, Bitmap>();
  #left: number;

  constructor(
    readonly decoder: Decoder,
    readonly channels: 1 | 3,
    bytes: number,
  ) {
    this.#left = bytes;
  }

  /** A picture whose sides are at least those of the window, one of them equal. */
  async get(index: number, { name, source, height, width }: Example, window: ImageSize): Promise<Bitmap> {
    const kept = this.#kept.get(index);
    if (kept !== undefined) return kept;
    const scale = Math.max(window.height / height, window.width / width);
    const size = {
      height: Math.max(window.height, Math.floor(height * scale + 1e-9)),
      width: Math.max(window.width, Math.floor(width * scale + 1e-9)),
    };
    const picture = await this.decoder.decode({ name, source, channels: this.channels, size });
    if (picture.data.length <= this.#left && !this.#kept.has(index)) {
      this.#left -= picture.data.length;
      this.#kept.set(index, picture);
    }
    return picture;
  }

  close(): Promise<void> {
    this.#kept.clear();
    return this.decoder.close();
  }
}

/** The window of a picture as floats in [-1, 1]; `place` are fractions of what is left over, the middle when absent. */
function cut(
  { data, height, width, channels }: Bitmap,
  window: ImageSize,
  place: { readonly y: number; readonly x: number } | undefined,
  mirrored: boolean,
  into: Float32Array,
): void {
  const [freeY, freeX] = [height - window.height, width - window.width];
  const top = place === undefined ? Math.round(freeY / 2) : Math.floor(place.y * (freeY + 1));
  const left = place === undefined ? Math.round(freeX / 2) : Math.floor(place.x * (freeX + 1));
  let out = 0;
  for (let y = 0; y < window.height; y++) {
    for (let x = 0; x < window.width; x++) {
      const from = ((top + y) * width + left + (mirrored ? window.width - 1 - x : x)) * channels;
      for (let c = 0; c < channels; c++) into[out++] = data[from + c]! / 127.5 - 1;
    }
  }
}

/** What is decided anew for each picture in each epoch, from (seed, epoch) alone. */
function epochDraws(count: number, seed: Seed, epoch: number) {
  const draw = (what: string) => new NumpyRandomState(deriveSeed(seed, `${what}/${epoch}`)).rand(count);
  return { epoch, flip: draw('flip'), y: draw('crop-y'), x: draw('crop-x'), caption: draw('caption') };
}

/** The sizes of batches, and which pictures come in each. */
function bucketsOf({ examples }: Dataset, { size, buckets }: ExampleStreamOptions): Bucket[] {
  if (buckets === undefined) return [{ height: size, width: size, members: examples.map((_, i) => i) }];
  const sizes = bucketSizes(size, buckets).map((one): Bucket => ({ ...one, members: [] }));
  examples.forEach(({ height, width }, i) => {
    const distance = (bucket: ImageSize) => Math.abs(Math.log((bucket.width / bucket.height) * (height / width)));
    sizes.reduce((best, bucket) => (distance(bucket) < distance(best) ? bucket : best)).members.push(i);
  });
  return sizes.filter(({ members }) => members.length > 0);
}

/**
 * The sizes that batches with `buckets` may have: sides are multiples of `step`, of about the area of `size`^2, none more than `ratio`
 * times the other.
 */
export function bucketSizes(
  size: number,
  { step, ratio = 2 }: NonNullable<ExampleStreamOptions['buckets']>,
): ImageSize[] {
  const sizes: ImageSize[] = [];
  for (let width = step; width <= Math.min(size * ratio, (size * size) / step); width += step) {
    const height = Math.floor((size * size) / width / step) * step;
    if (height >= step && Math.max(height / width, width / height) <= ratio) sizes.push({ height, width });
  }
  return sizes;
}

/** The batches of an epoch in their order. */
function planEpoch(
  buckets: readonly Bucket[],
  batchSize: number,
  seed: Seed,
  epoch: number,
  last: 'fill' | 'drop' | 'keep',
): Plan[] {
  const plans = buckets.flatMap(({ members, height, width }, b): Plan[] => {
    const order = epochOrder(members.length, buckets.length === 1 ? seed : deriveSeed(seed, `bucket/${b}`), epoch);
    const count = last === 'drop' ? Math.floor(members.length / batchSize) : Math.ceil(members.length / batchSize);
    const sizeOf = (k: number) => (last === 'keep' ? Math.min(batchSize, members.length - k * batchSize) : batchSize);
    return Array.from({ length: count }, (_, k) => ({
      ...{ height, width },
      indices: Int32Array.from({ length: sizeOf(k) }, (_, n) => members[order[(k * batchSize + n) % members.length]!]!),
    }));
  });
  if (buckets.length === 1) return plans;
  return Array.from(epochOrder(plans.length, deriveSeed(seed, 'buckets'), epoch), (i) => plans[i]!);
}

function problemsOf(state: unknown, of: ExampleStreamState['of'], batchesPerEpoch: number): string[] {
  const { epoch = -1, batch = -1, of: its } = (state ?? {}) as Partial<ExampleStreamState>;
  const wrong = Object.keys({ ...of, ...its })
    .filter((key) => its?.[key] !== of[key])
    .map((key) => `${key}: the state is of ${its?.[key]}, this stream is of ${of[key]}`);
  if (!Number.isSafeInteger(epoch) || epoch < 0) wrong.push(`expected an epoch from 0, got ${epoch}`);
  if (!Number.isInteger(batch) || batch < 0 || batch >= batchesPerEpoch) {
    wrong.push(`expected a batch in [0, ${batchesPerEpoch}), got ${batch}`);
  }
  return wrong;
}

function check({ examples }: Dataset, options: ExampleStreamOptions): void {
  const { batchSize, seed, size, buckets, last = 'drop', threads = 1, ahead = 2 } = options;
  const problems: string[] = [];
  const whole = (name: string, value: number, least: number) => {
    if (!Number.isSafeInteger(value) || value < least) {
      problems.push(`expected ${name} to be an integer of at least ${least}, got ${value}`);
    }
  };
  whole('batchSize', batchSize, 1);
  whole('size', size, 1);
  whole('threads', threads, 0);
  whole('ahead', ahead, 0);
  if (!isSeed(seed)) problems.push(`expected seed to be an integer in [-2^63, 2^64), got ${seed}`);
  if (buckets === undefined && last === 'drop' && batchSize > examples.length) {
    problems.push(
      `a batch of ${batchSize} does not fit in ${examples.length} pictures; take a smaller batchSize, or last: 'keep'`,
    );
  }
  if (buckets !== undefined && last === 'keep')
    problems.push('last: with buckets every batch is filled up; leave it out');
  if (buckets !== undefined) {
    whole('buckets.step', buckets.step, 1);
    if (buckets.step > size) problems.push(`expected buckets.step to be at most size ${size}, got ${buckets.step}`);
    if (!((buckets.ratio ?? 2) >= 1)) problems.push(`expected buckets.ratio of at least 1, got ${buckets.ratio}`);
    if (problems.length === 0 && bucketSizes(size, buckets).length === 0) {
      problems.push(
        `buckets: no sides that are multiples of ${buckets.step} and at most ${buckets.ratio ?? 2} times each other have about the area of ` +
          `${size} x ${size}; take a smaller step, a larger ratio, or a size that is a multiple of step`,
      );
    }
  }
  if (problems.length > 0) throw new InvalidArgumentError('exampleStream', problems);
}
