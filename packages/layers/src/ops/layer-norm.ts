import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { columnSum, rowDot, squaredDistance } from './norm-sums.js';
import { withGradient } from './with-gradient.js';

export interface LayerNormOptions {
  readonly epsilon: number;
}

/**
 * Layer normalisation over the last axis: y = (x - mean) / sqrt(variance + epsilon) scale + shift. Ba et al. 2016.
 * x `[..., C]`, scale and shift `[C]` or null.
 */
export function layerNorm<T extends tf.Tensor>(
  x: T,
  scale: tf.Tensor | null,
  shift: tf.Tensor | null,
  { epsilon }: LayerNormOptions,
): T {
  const scaleAt = scale === null ? -1 : 1;
  const shiftAt = shift === null ? -1 : 1 + Number(scale !== null);
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, x.shape.at(-1) ?? 1]); // [R, C]
    const y = withGradient(
      [rows, scale, shift].filter((t) => t !== null),
      (inputs) => {
        const [x, gamma, beta] = [inputs[0]!, inputs[scaleAt], inputs[shiftAt]];
        const [value, mean, inverse] =
          runForward(KERNELS.layerNorm, { x, scale: gamma, shift: beta }, { epsilon }) ??
          forward(x, gamma, beta, epsilon);
        return { value: value!, saved: [mean!, inverse!] };
      },
      (dy, inputs, [mean, inverse]) => {
        const [x, gamma] = [inputs[0]!, inputs[scaleAt]];
        const [dx, dScale, dShift] =
          runGrad(KERNELS.layerNorm, { x, dy, mean, inverseDeviation: inverse, scale: gamma }) ??
          backward(x, dy, mean!, inverse!, gamma);
        return [dx!, ...(scale === null ? [] : [dScale!]), ...(shift === null ? [] : [dShift!])];
      },
      (inputs) => forward(inputs[0]!, inputs[scaleAt], inputs[shiftAt], epsilon).slice(1),
    );
    return tf.reshape(y, x.shape) as T;
  });
}

function forward(
  x: tf.Tensor,
  scale: tf.Tensor | undefined,
  shift: tf.Tensor | undefined,
  epsilon: number,
): tf.Tensor[] {
  const mean = tf.mean(x, 1, true); // [R, 1]
  const variance = tf.mean(squaredDistance(x, mean), 1, true);
  const inverse = tf.rsqrt(tf.add(variance, epsilon));
  const z = tf.mul(tf.sub(x, mean), inverse); // [R, C]
  const scaled = scale === undefined ? z : tf.mul(z, scale);
  return [shift === undefined ? scaled : tf.add(scaled, shift), mean, inverse];
}

/** With z = (x - mean) r and g = dy scale: dx = r (g - mean(g) - z mean(g z)) over each row. */
function backward(
  x: tf.Tensor,
  dy: tf.Tensor,
  mean: tf.Tensor,
  inverse: tf.Tensor,
  scale: tf.Tensor | undefined,
): tf.Tensor[] {
  const width = x.shape[1]!;
  const z = tf.mul(tf.sub(x, mean), inverse); // [R, C]
  const dyZ = tf.mul(dy, z);
  const meanG = tf.div(rowDot(dy, scale), width); // [R, 1]
  const meanGz = tf.div(rowDot(dyZ, scale), width);
  const g = scale === undefined ? dy : tf.mul(dy, scale);
  const dx = tf.mul(inverse, tf.sub(tf.sub(g, meanG), tf.mul(z, meanGz)));
  return [dx, columnSum(dyZ), columnSum(dy)];
}

/**
 * Adaptive scale and shift of normalised tokens: x (1 + scale) + shift. x `[N, T, D]`, shift and scale `[N, 1, D]`, the same
 * for all tokens of an image. Perez et al. 2018 (FiLM); DiT (Peebles and Xie 2022), section 3.2, adaLN.
 */
export function modulate(x: tf.Tensor3D, shift: tf.Tensor3D, scale: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => tf.add(tf.mul(x, tf.add(scale, 1)), shift));
}
