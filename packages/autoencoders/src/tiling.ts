import { InvalidArgumentError, stepBoundary } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { AutoencoderKL } from './autoencoder-kl.js';
import type { Gaussian } from './gaussian.js';

/** How an image is cut. All in pixels of the latent image. */
export interface TilingOptions {
  /** Side of a tile; 64 when absent, as in diffusers for models of 512 pixels. */
  readonly tile?: number;
  /** What neighbours share at least; a quarter of the tile when absent. */
  readonly overlap?: number;
  /**
   * How much of what is shared counts for nothing at the inner edges of a tile, because it depends on what is beyond
   * the edge; a quarter of the overlap when absent. In the rest of the overlap one tile fades into the other.
   */
  readonly margin?: number;
}

/** A model that makes images of latent images, f times as large. */
export interface LatentDecoder {
  readonly downscale: number;
  decode(z: tf.Tensor4D): tf.Tensor4D;
}

/**
 * `model.decode(z)` in tiles, so that memory does not grow with the image: tiles overlap and fade into each other. All
 * tiles have one size. Equal to the whole where the model only looks as far as `margin`; norms and attention over the
 * whole image see a tile instead, which the fading hides. Not for training: each tile runs at once.
 *
 * @param z `[N, h, w, C]`
 * @returns `[N, h f, w f, outChannels]`
 * @throws InvalidArgumentError when the options do not fit each other
 */
export function decodeTiled(model: LatentDecoder, z: tf.Tensor4D, options: TilingOptions = {}): tf.Tensor4D {
  return tf.tidy(() => inTiles(z, 1, model.downscale, options, (tile) => model.decode(tile)));
}

/**
 * `vae.encode(x)` in tiles; see `decodeTiled`.
 *
 * @param x `[N, H, W, C]`, H and W multiples of f
 * @throws InvalidArgumentError when the options do not fit each other, or f does not divide H and W
 */
export function encodeTiled(vae: AutoencoderKL, x: tf.Tensor4D, options: TilingOptions = {}): Gaussian {
  const f = vae.downscale;
  if (x.shape[1] % f !== 0 || x.shape[2] % f !== 0) {
    throw new InvalidArgumentError(
      'encodeTiled',
      `x: expected a height and a width that ${f} divides, got [${x.shape}]`,
    );
  }
  return tf.tidy(() => {
    const moments = inTiles(x, f, 1, options, (tile) => {
      const { mean, logvar } = vae.encode(tile);
      return tf.concat([mean, logvar], 3);
    });
    const [mean, logvar] = tf.split(moments, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return { mean, logvar };
  });
}

/** Where a tile begins and how long it is, and how much each of its pixels counts. */
export interface Span {
  readonly start: number;
  readonly size: number;
  /** One weight a pixel; those of all tiles add up to 1 at every pixel of the whole. */
  readonly weights: Float32Array;
}

/** What `spansOf` needs of the options, all given. */
export type Tiling = Required<TilingOptions>;

/**
 * Cuts a side of `length` latent pixels into equal tiles that overlap, the last one ending at the end. `zoom`: numbers
 * of weights for one latent pixel. A side that fits into one tile is one.
 */
export function spansOf(length: number, { tile, overlap, margin }: Tiling, zoom: number): Span[] {
  const size = Math.min(tile, length);
  const last = length - size;
  const count = last === 0 ? 1 : 1 + Math.ceil(last / (size - overlap));
  const starts = Array.from({ length: count }, (_, i) => (count === 1 ? 0 : Math.round((i * last) / (count - 1))));
  const raw = starts.map((start, i) => {
    const before = i === 0 ? undefined : starts[i - 1]! + size - start;
    const after = i === count - 1 ? undefined : start + size - starts[i + 1]!;
    return Float64Array.from({ length: size * zoom }, (_, pixel) => {
      const at = (pixel + 0.5) / zoom;
      return Math.min(ramp(at, before, margin), ramp(size - at, after, margin));
    });
  });
  const total = new Float64Array(length * zoom);
  raw.forEach((weights, i) => {
    for (let p = 0; p < weights.length; p++) total[starts[i]! * zoom + p]! += weights[p]!;
  });
  return raw.map((weights, i) => ({
    start: starts[i]!,
    size,
    weights: Float32Array.from(weights, (weight, p) => weight / total[starts[i]! * zoom + p]!),
  }));
}

/** 0 in the margin, 1 behind what is shared, a line between; 1 where there is no neighbour. */
function ramp(distance: number, shared: number | undefined, margin: number): number {
  if (shared === undefined) return 1;
  return Math.min(1, Math.max(0, (distance - margin) / (shared - 2 * margin)));
}

/**
 * Runs tiles of x and adds up what they give, weighted. A latent pixel is `inZoom` pixels of x and `outZoom` of the
 * result.
 */
function inTiles(
  x: tf.Tensor4D,
  inZoom: number,
  outZoom: number,
  options: TilingOptions,
  run: (tile: tf.Tensor4D) => tf.Tensor4D,
): tf.Tensor4D {
  const tiling = complete(options);
  const [, height, width] = x.shape.map((side) => side / inZoom) as [number, number, number, number];
  const rows = spansOf(height, tiling, outZoom);
  const columns = spansOf(width, tiling, outZoom);
  let sum: tf.Tensor4D | undefined;
  for (const row of rows) {
    for (const column of columns) {
      const before = sum;
      sum = tf.tidy(() => {
        const at = [row.start, column.start].map((start) => start * inZoom) as [number, number];
        const size = [row.size, column.size].map((side) => side * inZoom) as [number, number];
        const tile = tf.slice(x, [0, ...at, 0], [-1, ...size, -1]);
        const part = placed(run(tile), row, column, [height * outZoom, width * outZoom], outZoom);
        return before === undefined ? part : tf.add<tf.Tensor4D>(before, part);
      });
      before?.dispose();
      stepBoundary();
    }
  }
  return sum!;
}

/** A tile's result, weighted, at its place in an image of zeros. */
function placed(
  y: tf.Tensor4D,
  row: Span,
  column: Span,
  [height, width]: readonly [number, number],
  zoom: number,
): tf.Tensor4D {
  const vertical = tf.tensor4d(row.weights, [1, row.weights.length, 1, 1]);
  const horizontal = tf.tensor4d(column.weights, [1, 1, column.weights.length, 1]);
  const top = row.start * zoom;
  const left = column.start * zoom;
  return tf.pad(tf.mul<tf.Tensor4D>(tf.mul(y, vertical), horizontal), [
    [0, 0],
    [top, height - top - row.weights.length],
    [left, width - left - column.weights.length],
    [0, 0],
  ]);
}

function complete({
  tile = 64,
  overlap = Math.floor(tile / 4),
  margin = Math.floor(overlap / 4),
}: TilingOptions): Tiling {
  const problems: string[] = [];
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least;
  if (!whole(tile, 2)) problems.push(`tile: expected a whole number of at least 2, got ${tile}`);
  if (!whole(overlap, 1) || overlap >= tile) {
    problems.push(`overlap: expected a whole number of at least 1 and less than the tile (${tile}), got ${overlap}`);
  }
  if (!whole(margin, 0) || 2 * margin >= overlap) {
    problems.push(
      `margin: expected a whole number of at least 0 and less than half of the overlap (${overlap / 2}), got ${margin}`,
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError('tiling', problems);
  return { tile, overlap, margin };
}
