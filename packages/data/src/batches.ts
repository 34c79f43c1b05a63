import { deriveSeed, InvalidArgumentError, isSeed, NumpyRandomState, type Seed, seedPlus } from '@mezzotint/core';
import { type BatchPlace, type BatchShare, checkShare, nextPlace, partAt, WHOLE } from './batch-share.js';
import type { ImageSet } from './image-set.js';

/** A batch as the models take it. */
export interface ImageBatch {
  /** Pixels in [-1, 1], NHWC. */
  readonly images: Float32Array;
  /** Class indices, `[N]`. */
  readonly labels: Int32Array;
  /** `[N, H, W, C]`. */
  readonly shape: readonly [number, number, number, number];
}

/** How a set is cut into batches. */
export interface BatchOptions {
  /** Images in a batch. */
  readonly batchSize: number;
  /** Seed of the order and of the flips. */
  readonly seed: Seed;
  /** Mirror each image left-right with probability 1/2, decided anew in each epoch. Wrong for digits and text. Default false. */
  readonly flip?: boolean;
  /** What becomes of the images left at the end of an epoch: `drop` (default; they come in another epoch) or `keep` as a smaller batch. */
  readonly last?: 'drop' | 'keep';
  /** The parts that one of several processes takes; whole batches when absent. State then is of whole updates. */
  readonly share?: BatchShare;
}

/** Where an iterator stands: JSON, made by `state()` and taken by `resume()`. */
export interface BatchesState {
  /** Epoch of the next batch, from 0. */
  readonly epoch: number;
  /** Number of the next batch in its epoch, from 0. */
  readonly batch: number;
  /** What the batches are cut from; a state resumes only the same. */
  readonly of: BatchesSource;
}

/** The facts that decide every batch. */
export interface BatchesSource {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly batchSize: number;
  readonly seed: Seed;
  readonly flip: boolean;
  readonly last: 'drop' | 'keep';
}

/** Endless batches, epoch after epoch, each epoch in another order. `state()` before a `next()` and `resume()` give that batch again. */
export interface ImageBatches {
  /** Batches in one epoch. */
  readonly batchesPerEpoch: number;
  next(): Promise<ImageBatch>;
  state(): BatchesState;
  /**
   * Goes to a place that `state()` gave, also after JSON.
   *
   * @throws InvalidArgumentError when it is no state, or of other data or other options; nothing changes then
   */
  resume(state: unknown): void;
}

/**
 * Order of an epoch: a permutation of `[0, count)` from (`seed`, `epoch`) alone, so that any epoch can be entered
 * without those before it.
 */
export function epochOrder(count: number, seed: Seed, epoch: number): Int32Array {
  return Int32Array.from(new NumpyRandomState(deriveSeed(seed, `order/${epoch}`)).permutation(count));
}

/** Which images of an epoch are mirrored, by index of the image: one fair coin each, from (`seed`, `epoch`) alone. */
function epochFlips(count: number, seed: Seed, epoch: number): Uint8Array {
  const draws = new NumpyRandomState(deriveSeed(seed, `flip/${epoch}`)).rand(count);
  return Uint8Array.from(draws, (draw) => (draw < 0.5 ? 1 : 0));
}

/**
 * Shuffled batches of a set without end. The same set, options and state give the same batches, bit for bit.
 *
 * @throws InvalidArgumentError when the batch size is not a positive integer, or exceeds the set and `last` is `drop`
 */
export function batches(
  set: ImageSet,
  { batchSize, seed, flip = false, last = 'drop', share = WHOLE }: BatchOptions,
): ImageBatches {
  const { count, height, width, channels } = set;
  const problems = [];
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    problems.push(`expected batchSize to be a positive integer, got ${batchSize}`);
  }
  if (!isSeed(seed)) problems.push(`expected seed to be an integer in [-2^63, 2^64), got ${seed}`);
  if (count < 1) problems.push('expected at least one image, got an empty set');
  if (last === 'drop' && batchSize > count) {
    problems.push(`a batch of ${batchSize} does not fit in ${count} images; take a smaller batchSize, or last: 'keep'`);
  }
  if (share.parts > 1 && last === 'keep') problems.push("the smaller last batch cannot be cut: take last: 'drop'");
  if (problems.length > 0) throw new InvalidArgumentError('batches', problems);
  checkShare('batches', share, batchSize);

  const of: BatchesSource = { count, height, width, channels, batchSize, seed: seedPlus(seed, 0), flip, last };
  const batchesPerEpoch = last === 'drop' ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
  let at: BatchPlace = { epoch: 0, batch: 0, taken: 0 };
  let drawn: { readonly epoch: number; readonly order: Int32Array; readonly flips: Uint8Array | null } | undefined;

  return {
    batchesPerEpoch,
    async next() {
      const { epoch, batch, rows } = partAt(at, share, batchesPerEpoch);
      if (drawn?.epoch !== epoch) {
        drawn = { epoch, order: epochOrder(count, seed, epoch), flips: flip ? epochFlips(count, seed, epoch) : null };
      }
      const indices = drawn.order.subarray(batch * batchSize, Math.min((batch + 1) * batchSize, count));
      at = nextPlace(at, share, batchesPerEpoch);
      return gather(set, indices.subarray(...rows(indices.length)), drawn.flips);
    },
    state: () => ({ epoch: at.epoch, batch: at.batch, of }),
    resume(state) {
      const { wrong, place } = placeOf(state, of, batchesPerEpoch);
      if (wrong.length > 0) throw new InvalidArgumentError('batches.resume', wrong);
      at = { ...place, taken: 0 };
    },
  };
}

/** Pixels and labels at `indices`, as floats, mirrored where `flips` says so. */
function gather(set: ImageSet, indices: Int32Array, flips: Uint8Array | null): ImageBatch {
  const { height, width, channels } = set;
  const size = height * width * channels;
  const images = new Float32Array(indices.length * size);
  const labels = new Int32Array(indices.length);
  for (let n = 0; n < indices.length; n++) {
    const index = indices[n]!;
    labels[n] = set.labels[index]!;
    const mirrored = flips?.[index] === 1;
    let out = n * size;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = index * size + (y * width + (mirrored ? width - 1 - x : x)) * channels;
        for (let c = 0; c < channels; c++) images[out++] = set.images[from + c]! / 127.5 - 1;
      }
    }
  }
  return { images, labels, shape: [indices.length, height, width, channels] };
}

/** Where `state` says to go, and what keeps it from being resumed on `of`, one line each. */
function placeOf(state: unknown, of: BatchesSource, batchesPerEpoch: number) {
  const { epoch = -1, batch = -1, of: its } = (state ?? {}) as Partial<BatchesState>;
  const wrong = [];
  for (const key of Object.keys(of) as (keyof BatchesSource)[]) {
    if (its?.[key] !== of[key]) wrong.push(`${key}: the state is of ${its?.[key]}, these batches are of ${of[key]}`);
  }
  if (!Number.isSafeInteger(epoch) || epoch < 0) wrong.push(`expected an epoch from 0, got ${epoch}`);
  if (!Number.isInteger(batch) || batch < 0 || batch >= batchesPerEpoch) {
    wrong.push(`expected a batch in [0, ${batchesPerEpoch}), got ${batch}`);
  }
  return { wrong, place: { epoch, batch } };
}
