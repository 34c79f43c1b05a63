import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * The LeGall 5/3 wavelet transform of JPEG 2000 (without its rounding) over rows and columns, `levels` times over the low band:
 * d_n = x_2n+1 - (x_2n + x_2n+2) / 2, s_n = x_2n + (d_n-1 + d_n) / 4, mirrored at the borders. The four bands of a level stand side
 * by side as channels (low, then high along columns, along rows, along both), finer bands as the pixels of their blocks:
 * `[N, H, W, C] -> [N, H / f, W / f, f f C]` with f = 2^levels. Le Gall and Tabatabai 1988.
 *
 * @throws InvalidArgumentError when 2^levels does not divide H and W
 */
export function waveletTransform(x: tf.Tensor4D, levels = 1): tf.Tensor4D {
  checkLevels('waveletTransform', levels, x.shape[1], x.shape[2]);
  return tf.tidy(() => {
    let low = x;
    const finer: tf.Tensor4D[] = [];
    for (let level = 0; level < levels; level++) {
      const [l, h] = analysed(low, 2);
      const [ll, lh] = analysed(l, 1);
      const [hl, hh] = analysed(h, 1);
      finer.push(blocksToChannels(tf.concat([hl, lh, hh], 3), 2 ** (levels - 1 - level)));
      low = ll;
    }
    return tf.concat([low, ...finer.reverse()], 3);
  });
}

/**
 * The way back of `waveletTransform`: `[N, H, W, f f C] -> [N, f H, f W, C]`.
 *
 * @throws InvalidArgumentError when the channels are no multiple of 4^levels
 */
export function inverseWaveletTransform(bands: tf.Tensor4D, levels = 1): tf.Tensor4D {
  const channels = bands.shape[3] / 4 ** levels;
  if (!Number.isInteger(levels) || levels < 1 || !Number.isInteger(channels)) {
    throw new InvalidArgumentError(
      'inverseWaveletTransform',
      `expected channels in 4^${levels} bands, got [${bands.shape}]`,
    );
  }
  return tf.tidy(() => {
    // The low band, then three bands of each level, the coarsest first.
    const sizes = Array.from({ length: levels }, (_, level) => 3 * 4 ** level * channels);
    const [low, ...finer] = tf.split(bands, [channels, ...sizes], 3) as tf.Tensor4D[];
    return finer.reduce((ll, band, level) => {
      const [hl, lh, hh] = tf.split(channelsToBlocks(band, 2 ** level), 3, 3) as [
        tf.Tensor4D,
        tf.Tensor4D,
        tf.Tensor4D,
      ];
      return synthesised(synthesised(ll, lh, 1), synthesised(hl, hh, 1), 2);
    }, low!);
  });
}

type Axis = 1 | 2;

/** Low and high band along an axis, each half as long. */
function analysed(x: tf.Tensor4D, axis: Axis): [tf.Tensor4D, tf.Tensor4D] {
  const [even, odd] = phases(x, axis);
  const high = tf.sub<tf.Tensor4D>(odd, tf.mul(tf.add(even, next(even, axis)), 0.5));
  return [tf.add(even, tf.mul(tf.add(previous(high, axis), high), 0.25)), high];
}

/** An axis from its bands. */
function synthesised(low: tf.Tensor4D, high: tf.Tensor4D, axis: Axis): tf.Tensor4D {
  const even = tf.sub<tf.Tensor4D>(low, tf.mul(tf.add(previous(high, axis), high), 0.25));
  const odd = tf.add<tf.Tensor4D>(high, tf.mul(tf.add(even, next(even, axis)), 0.5));
  const [n, h, w, c] = even.shape;
  const shape: [number, number, number, number] = axis === 1 ? [n, 2 * h, w, c] : [n, h, 2 * w, c];
  return tf.reshape(tf.stack([even, odd], axis + 1), shape);
}

/** Entries of even and of odd places. */
function phases(x: tf.Tensor4D, axis: Axis): [tf.Tensor4D, tf.Tensor4D] {
  const [n, h, w, c] = x.shape;
  const shape = axis === 1 ? [n, h / 2, 2, w, c] : [n, h, w / 2, 2, c];
  return tf.unstack(tf.reshape(x, shape), axis + 1) as [tf.Tensor4D, tf.Tensor4D];
}

/** x_n+1; the last one is mirrored: x_2N is x_2N-2. */
function next(x: tf.Tensor4D, axis: Axis): tf.Tensor4D {
  return shifted(x, axis, 1);
}

/** x_n-1; the first one is mirrored: d_-1 is d_0. */
function previous(x: tf.Tensor4D, axis: Axis): tf.Tensor4D {
  return shifted(x, axis, -1);
}

function shifted(x: tf.Tensor4D, axis: Axis, by: 1 | -1): tf.Tensor4D {
  const length = x.shape[axis];
  if (length === 1) return x;
  const [first, last] = by === 1 ? tf.split(x, [1, length - 1], axis) : tf.split(x, [length - 1, 1], axis);
  const rest = by === 1 ? last! : first!;
  const at = [0, 0, 0, 0];
  at[axis] = by === 1 ? length - 1 : 0;
  const size = [...x.shape];
  size[axis] = 1;
  const border = tf.slice(x, at, size);
  return tf.concat(by === 1 ? [rest, border] : [border, rest], axis) as tf.Tensor4D;
}

/** Blocks of f x f pixels as channels: `[N, f H, f W, C] -> [N, H, W, C f f]`. */
function blocksToChannels(x: tf.Tensor4D, f: number): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  if (f === 1) return x;
  const parts = tf.transpose(tf.reshape(x, [n, h / f, f, w / f, f, c]), [0, 1, 3, 5, 2, 4]);
  return tf.reshape(parts, [n, h / f, w / f, c * f * f]);
}

function channelsToBlocks(x: tf.Tensor4D, f: number): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  if (f === 1) return x;
  const parts = tf.transpose(tf.reshape(x, [n, h, w, c / (f * f), f, f]), [0, 1, 4, 2, 5, 3]);
  return tf.reshape(parts, [n, h * f, w * f, c / (f * f)]);
}

function checkLevels(who: string, levels: number, height: number, width: number): void {
  const factor = 2 ** levels;
  if (Number.isInteger(levels) && levels >= 1 && height % factor === 0 && width % factor === 0) return;
  throw new InvalidArgumentError(who, `expected sides that ${factor} divides, got ${height} x ${width}`);
}
