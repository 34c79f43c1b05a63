import { deriveSeed, InvalidArgumentError, type Seed, TorchGenerator } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import type { NoiseSource } from '@mezzotint/schedulers';
import type { Pipeline } from './pipeline.js';
import type { Request } from './request.js';
import type { RunHooks } from './run-pipeline.js';

/** How a picture is cut into tiles. */
export interface UpscaleOptions {
  /** Pixels a side of a tile of the small picture, a multiple of the model's unit; what the model was trained with, at least 64, when absent. */
  readonly tile?: number | undefined;
  /** Pixels that neighbouring tiles share at least, where they are blended; a quarter of a tile when absent. */
  readonly overlap?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told after each tile. */
  readonly onTile?: ((done: number, total: number) => void) | undefined;
  /** Told what happens within a tile. */
  readonly onProgress?: RunHooks['onProgress'];
  readonly onNote?: RunHooks['onNote'];
}

/** A tile of the small picture. */
interface Tile {
  readonly top: number;
  readonly left: number;
}

/**
 * Enlarges a picture of any size by a model that takes one as `image`, tile by tile, and gives the rows of the result that are done,
 * from top to bottom. Memory is that of one tile and of one row of tiles, whatever the picture's height: neighbours share
 * pixels, start from the same noise there, and are blended linearly.
 *
 * @param request what else the model is asked: prompt, labels, steps, seed, noiseLevel; one picture
 * @returns bands of full width; together they are `factor` times the picture
 * @throws InvalidArgumentError when the model enlarges nothing, or tile and overlap do not fit it
 */
export async function* upscaleRows(
  pipeline: Pipeline,
  picture: Bitmap,
  request: Request,
  { tile, overlap, signal, onTile, ...hooks }: UpscaleOptions = {},
): AsyncGenerator<Bitmap, void, undefined> {
  const { upscaling } = pipeline;
  if (upscaling === null) {
    throw new InvalidArgumentError('upscale', `${pipeline.family} enlarges no picture: ${pipeline.description}`);
  }
  const { factor, unit } = upscaling;
  const { tile: side, overlap: shared } = tilesOf(upscaling, { tile, overlap });
  checkTiles(side, shared, upscaling);
  const { height, width } = picture;
  const size = { height: tileSide(height, side, unit), width: tileSide(width, side, unit) };
  const tops = starts(height, size.height, shared);
  const lefts = starts(width, size.width, shared);
  const seed = request.seeds?.[0] ?? request.seed ?? 0;
  const channels = 3;
  let band: Band | undefined;
  let done = 0;
  for (const [row, top] of tops.entries()) {
    band = nextBand(band, top * factor, size.height * factor, width * factor, channels);
    for (const [column, left] of lefts.entries()) {
      signal?.throwIfAborted();
      const image = cut(picture, { top, left }, size);
      const noise = () => placedNoise(seed, { top, left }, size.height);
      const { images } = await pipeline.generate({ ...request, seed, count: 1, image }, { ...hooks, signal, noise });
      const [made] = images;
      if (made === undefined || images.length > 1) {
        throw new InvalidArgumentError('upscale', `expected a request of one picture, got ${images.length}`);
      }
      const weights = {
        y: ramps(
          size.height * factor,
          shareOf(tops, row, size.height) * factor,
          shareOf(tops, row + 1, size.height) * factor,
        ),
        x: ramps(
          size.width * factor,
          shareOf(lefts, column, size.width) * factor,
          shareOf(lefts, column + 1, size.width) * factor,
        ),
      };
      add(band, made, left * factor, weights);
      done += 1;
      onTile?.(done, tops.length * lefts.length);
    }
    const next = tops[row + 1];
    yield rowsOf(band, (next ?? height) * factor - band.top);
  }
}

/** The same in one picture: three bytes a pixel more. */
export async function upscale(
  pipeline: Pipeline,
  picture: Bitmap,
  request: Request,
  options: UpscaleOptions = {},
): Promise<Bitmap> {
  const bands: Bitmap[] = [];
  for await (const band of upscaleRows(pipeline, picture, request, options)) bands.push(band);
  const data = new Uint8Array(bands.reduce((sum, band) => sum + band.data.length, 0));
  let at = 0;
  for (const band of bands) {
    data.set(band.data, at);
    at += band.data.length;
  }
  const { width, channels } = bands[0]!;
  return { data, height: bands.reduce((sum, band) => sum + band.height, 0), width, channels };
}

type Upscaling = NonNullable<Pipeline['upscaling']>;

/** Small tiles cost more than they save: most of a tile is shared then. */
const LEAST_TILE = 64;

/** How a picture is cut where nothing or little is said of it. */
export function tilesOf(
  upscaling: NonNullable<Pipeline['upscaling']>,
  { tile = tileOf(upscaling), overlap = Math.floor(tile / 4) }: Pick<UpscaleOptions, 'tile' | 'overlap'>,
): { readonly tile: number; readonly overlap: number } {
  return { tile, overlap };
}

function tileOf({ unit, size }: Upscaling): number {
  return unit === size ? size : unit * Math.ceil(Math.max(size, LEAST_TILE) / unit);
}

function checkTiles(tile: number, overlap: number, { unit, size }: Upscaling): void {
  const problems: string[] = [];
  if (!(Number.isInteger(tile) && tile >= unit && tile % unit === 0)) {
    problems.push(`tile: expected a multiple of ${unit} pixels, got ${tile}`);
  } else if (unit === size && tile !== size) {
    problems.push(`tile: this model takes ${size} pixels a side only, got ${tile}`);
  }
  if (!(Number.isInteger(overlap) && overlap >= 0 && overlap < tile)) {
    problems.push(`overlap: expected a whole number of pixels below the tile's ${tile}, got ${overlap}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('upscale', problems);
}

/** A tile's side along an axis: all of a shorter picture, in whole units. */
function tileSide(length: number, tile: number, unit: number): number {
  return Math.min(tile, unit * Math.ceil(length / unit));
}

/** Where tiles begin along an axis: evenly, sharing at least `overlap`, the last at the end. */
function starts(length: number, tile: number, overlap: number): number[] {
  if (length <= tile) return [0];
  const count = Math.ceil((length - overlap) / (tile - overlap));
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - tile)) / (count - 1)));
}

/** Pixels that tile i shares with the one before it; 0 at the ends. */
function shareOf(places: readonly number[], i: number, tile: number): number {
  if (i === 0 || i >= places.length) return 0;
  return places[i - 1]! + tile - places[i]!;
}

/** Weights along an axis: rising over what is shared before, falling over what is shared behind. */
function ramps(length: number, before: number, behind: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const rise = before > 0 ? Math.min(1, (i + 0.5) / before) : 1;
    const fall = behind > 0 ? Math.min(1, (length - i - 0.5) / behind) : 1;
    return rise * fall;
  });
}

/** A tile of a picture, its last pixels repeated where the picture ends. */
function cut(
  { data, height, width, channels }: Bitmap,
  { top, left }: Tile,
  size: { height: number; width: number },
): Bitmap {
  const tile = new Uint8Array(size.height * size.width * channels);
  for (let y = 0; y < size.height; y++) {
    const row = Math.min(top + y, height - 1) * width;
    for (let x = 0; x < size.width; x++) {
      const from = (row + Math.min(left + x, width - 1)) * channels;
      for (let c = 0; c < channels; c++) tile[(y * size.width + x) * channels + c] = data[from + c]!;
    }
  }
  return { data: tile, ...size, channels };
}

/** Rows of the result that are under way: sums of pixels and of their weights. */
interface Band {
  readonly top: number;
  readonly height: number;
  readonly width: number;
  channels: 1 | 3;
  sums: Float32Array;
  weights: Float32Array;
}

/** The band that begins at `top`, with what the one before has of it. */
function nextBand(band: Band | undefined, top: number, height: number, width: number, channels: 1 | 3): Band {
  const next: Band = {
    ...{ top, height, width, channels: band?.channels ?? channels },
    sums: new Float32Array(height * width * channels),
    weights: new Float32Array(height * width),
  };
  if (band !== undefined) {
    const skipped = (top - band.top) * width;
    next.weights.set(band.weights.subarray(skipped));
    next.sums.set(band.sums.subarray(skipped * band.channels, band.height * width * band.channels));
  }
  return next;
}

function add(
  band: Band,
  made: Bitmap,
  left: number,
  { y, x }: { readonly y: Float32Array; readonly x: Float32Array },
): void {
  const { width, sums, weights } = band;
  const { channels } = made;
  band.channels = channels;
  for (let row = 0; row < made.height; row++) {
    for (let column = 0; column < Math.min(made.width, width - left); column++) {
      const weight = y[row]! * x[column]!;
      const to = row * width + left + column;
      weights[to]! += weight;
      for (let c = 0; c < channels; c++) {
        sums[to * channels + c]! += weight * made.data[(row * made.width + column) * channels + c]!;
      }
    }
  }
}

/** The first rows of a band, as bytes. */
function rowsOf({ sums, weights, width, channels }: Band, height: number): Bitmap {
  const data = new Uint8Array(height * width * channels);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(sums[i]! / weights[Math.floor(i / channels)]!);
  return { data, height, width, channels };
}

/** Pixels a side of the squares that noise is drawn in. */
const CELL = 32;

/**
 * Noise that belongs to places of the whole picture, so that tiles begin from the same where they share pixels. Each draw is put
 * together of squares with a generator of their own.
 *
 * @param tileHeight pixels of the small picture that a draw's height stands for
 */
function placedNoise(seed: Seed, { top, left }: Tile, tileHeight: number): NoiseSource {
  let draws = 0;
  return {
    draw([n = 1, height = 1, width = 1, channels = 1]) {
      const scale = height / tileHeight;
      const [y0, x0] = [Math.round(top * scale), Math.round(left * scale)];
      const all = new Float32Array(n * height * width * channels);
      for (let cy = Math.floor(y0 / CELL); cy * CELL < y0 + height; cy++) {
        for (let cx = Math.floor(x0 / CELL); cx * CELL < x0 + width; cx++) {
          const cell = new TorchGenerator(deriveSeed(seed, `${draws}/${cy}/${cx}`)).randn(CELL * CELL * channels);
          for (let y = Math.max(0, cy * CELL - y0); y < Math.min(height, (cy + 1) * CELL - y0); y++) {
            const x = Math.max(0, cx * CELL - x0);
            const until = Math.min(width, (cx + 1) * CELL - x0);
            const from = ((y + y0 - cy * CELL) * CELL + x + x0 - cx * CELL) * channels;
            all.set(cell.subarray(from, from + (until - x) * channels), (y * width + x) * channels);
          }
        }
      }
      draws += 1;
      return all;
    },
    save: () => draws,
    restore(state) {
      draws = state as number;
    },
  };
}
