import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { squaredDistance } from './norm-sums.js';
import { withGradient } from './with-gradient.js';

export interface GroupNormOptions {
  /** Number of groups G; it divides the number of channels C. */
  readonly groups: number;
  readonly epsilon: number;
}

/**
 * Group normalisation: y = (x - mean) / sqrt(variance + epsilon) scale + shift, with mean and (biased) variance over
 * all positions and the C / G channels of a group. Wu and He 2018. x `[N, ..., C]`, scale and shift `[C]` or null.
 *
 * @throws InvalidArgumentError when G does not divide C
 */
export function groupNorm<T extends tf.Tensor>(
  x: T,
  scale: tf.Tensor | null,
  shift: tf.Tensor | null,
  { groups, epsilon }: GroupNormOptions,
): T {
  const n = x.shape[0] ?? 0;
  const channels = x.shape.at(-1) ?? 0;
  if (x.rank < 2 || channels % groups !== 0) {
    throw new InvalidArgumentError(
      'groupNorm',
      `expected x [N, ..., C] with C a multiple of ${groups} groups, got [${x.shape}]`,
    );
  }
  const scaleAt = scale === null ? -1 : 1;
  const shiftAt = shift === null ? -1 : 1 + Number(scale !== null);
  return tf.tidy(() => {
    const flat = tf.reshape(x, [n, -1, channels]); // [N, P, C]
    const y = withGradient(
      [flat, scale, shift].filter((t) => t !== null),
      (inputs) => {
        const [x, gamma, beta] = [inputs[0]!, inputs[scaleAt], inputs[shiftAt]];
        const [value, mean, inverse] =
          runForward(KERNELS.groupNorm, { x, scale: gamma, shift: beta }, { groups, epsilon }) ??
          forward(x, gamma, beta, groups, epsilon);
        return { value: value!, saved: [mean!, inverse!] };
      },
      (dy, inputs, [mean, inverse]) => {
        const [x, gamma] = [inputs[0]!, inputs[scaleAt]];
        const [dx, dScale, dShift] =
          runGrad(KERNELS.groupNorm, { x, dy, mean, inverseDeviation: inverse, scale: gamma }, { groups }) ??
          backward(x, dy, mean!, inverse!, gamma, groups);
        return [dx!, ...(scale === null ? [] : [dScale!]), ...(shift === null ? [] : [dShift!])];
      },
      (inputs) => forward(inputs[0]!, inputs[scaleAt], inputs[shiftAt], groups, epsilon).slice(1),
    );
    return tf.reshape(y, x.shape) as T;
  });
}

type Shape3 = [number, number, number];

/** Two reductions over pixels, one pass for the squares, one scale and one shift: y = a x + b with a, b `[N, 1, C]`. */
function forward(
  x: tf.Tensor,
  scale: tf.Tensor | undefined,
  shift: tf.Tensor | undefined,
  groups: number,
  epsilon: number,
) {
  const [n, pixels, channels] = x.shape as Shape3;
  const count = (pixels * channels) / groups;
  const mean = groupSum(tf.sum(x, 1), groups, 1 / count); // [N, G]
  const centre = spread(mean, channels);
  const variance = groupSum(tf.sum(squaredDistance(x, centre), 1), groups, 1 / count);
  const inverse = tf.rsqrt(tf.add(variance, epsilon)); // [N, G]
  const rows = spread(inverse, channels);
  const a = scale === undefined ? rows : tf.mul(rows, scale); // [N, 1, C]
  const minus = tf.mul(centre, a);
  const b = shift === undefined ? tf.neg(minus) : tf.sub(shift, minus);
  return [tf.reshape(tf.add(tf.mul(x, a), b), [n, pixels, channels]), mean, inverse];
}

/**
 * With z = (x - mean) r and g = dy scale: dx = r (g - mean(g) - z mean(g z)), means over the group; that is
 * dx = a dy - p x - q with a `[N, 1, C]` and p, q one number for each group. dScale = sum dy z, dShift = sum dy.
 */
function backward(
  x: tf.Tensor,
  dy: tf.Tensor,
  mean: tf.Tensor,
  inverse: tf.Tensor,
  scale: tf.Tensor | undefined,
  groups: number,
) {
  const [n, pixels, channels] = x.shape as Shape3;
  const count = (pixels * channels) / groups;
  const r = tf.reshape(spread(inverse, channels), [n, channels]);
  const centre = tf.reshape(spread(mean, channels), [n, channels]);
  const sumDy = tf.sum(dy, 1); // [N, C]
  const sumDyZ = tf.mul(r, tf.sub(tf.sum(tf.mul(dy, x), 1), tf.mul(centre, sumDy))); // [N, C]
  const weigh = (t: tf.Tensor) => (scale === undefined ? t : tf.mul(t, scale));
  const meanG = groupSum(weigh(sumDy), groups, 1 / count); // [N, G]
  const meanGz = groupSum(weigh(sumDyZ), groups, 1 / count);
  const p = tf.mul(tf.square(inverse), meanGz);
  const q = tf.sub(tf.mul(inverse, meanG), tf.mul(mean, p));
  const a = tf.reshape(weigh(r), [n, 1, channels]);
  const dx = tf.sub(tf.sub(tf.mul(dy, a), tf.mul(x, spread(p, channels))), spread(q, channels));
  return [dx, tf.sum(sumDyZ, 0), tf.sum(sumDy, 0)];
}

/** `[N, C]` -> `[N, G]`, times a factor. */
function groupSum(t: tf.Tensor, groups: number, factor: number): tf.Tensor {
  const [n, channels] = t.shape as [number, number];
  return tf.mul(tf.sum(tf.reshape(t, [n, groups, channels / groups]), 2), factor);
}

/** `[N, G]` -> `[N, 1, C]`: each group's number for each of its channels. */
function spread(t: tf.Tensor, channels: number): tf.Tensor {
  const [n, groups] = t.shape as [number, number];
  return tf.reshape(tf.tile(tf.reshape(t, [n, groups, 1]), [1, 1, channels / groups]), [n, 1, channels]);
}
