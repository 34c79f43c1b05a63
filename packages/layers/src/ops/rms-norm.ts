import * as tf from '@tensorflow/tfjs-core';
import { KERNELS, runForward, runGrad } from '../kernels.js';
import { columnSum, rowDot } from './norm-sums.js';
import { withGradient } from './with-gradient.js';

export interface RmsNormOptions {
  readonly epsilon: number;
}

/** Root-mean-square normalisation over the last axis: y = x / sqrt(mean(x^2) + epsilon) scale. Zhang and Sennrich 2019. x `[..., C]`, scale `[C]` or null. */
export function rmsNorm<T extends tf.Tensor>(x: T, scale: tf.Tensor | null, { epsilon }: RmsNormOptions): T {
  return tf.tidy(() => {
    const rows = tf.reshape(x, [-1, x.shape.at(-1) ?? 1]); // [R, C]
    const y = withGradient(
      scale === null ? [rows] : [rows, scale],
      ([x, scale]) => {
        const [value, inverse] = runForward(KERNELS.rmsNorm, { x, scale }, { epsilon }) ?? forward(x!, scale, epsilon);
        return { value: value!, saved: [inverse!] };
      },
      (dy, [x, scale], [inverse]) => {
        const [dx, dScale] =
          runGrad(KERNELS.rmsNorm, { x, dy, inverseRms: inverse, scale }) ?? backward(x!, dy, inverse!, scale);
        return scale === undefined ? [dx!] : [dx!, dScale!];
      },
      ([x, scale]) => forward(x!, scale, epsilon).slice(1),
    );
    return tf.reshape(y, x.shape) as T;
  });
}

function forward(x: tf.Tensor, scale: tf.Tensor | undefined, epsilon: number): tf.Tensor[] {
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), epsilon)); // [R, 1]
  const z = tf.mul(x, inverse);
  return [scale === undefined ? z : tf.mul(z, scale), inverse];
}

/** With z = x r and g = dy scale: dx = r (g - z mean(g z)) over each row. */
function backward(x: tf.Tensor, dy: tf.Tensor, inverse: tf.Tensor, scale: tf.Tensor | undefined): tf.Tensor[] {
  const z = tf.mul(x, inverse); // [R, C]
  const dyZ = tf.mul(dy, z);
  const meanGz = tf.div(rowDot(dyZ, scale), x.shape[1]!); // [R, 1]
  const g = scale === undefined ? dy : tf.mul(dy, scale);
  return [tf.mul(inverse, tf.sub(g, tf.mul(z, meanGz))), columnSum(dyZ)];
}
