import { Module, normal, Param, zeros } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A convolution, a SiLU that knows the time, a convolution: the least that has every kind of parameter. `[N, H, W, 1]`. */
export class TinyNet extends Module {
  readonly inWeight: Param;
  readonly inBias: Param;
  readonly timeWeight: Param;
  readonly outWeight: Param;
  readonly buffer: Param;

  constructor(
    readonly width = 4,
    readonly outputs = 1,
  ) {
    super();
    this.inWeight = new Param([3, 3, 1, width], { init: normal(0.3), layout: 'conv2d' });
    this.inBias = new Param([width], { init: zeros });
    this.timeWeight = new Param([width], { init: normal(0.1) });
    this.outWeight = new Param([3, 3, width, outputs], { init: normal(0.3), layout: 'conv2d' });
    this.buffer = new Param([2], { init: normal(1), trainable: false });
  }

  forward(x: tf.Tensor4D, time: tf.Tensor1D): tf.Tensor4D {
    return tf.tidy(() => {
      const moved = tf.mul(tf.reshape(time, [-1, 1, 1, 1]), this.timeWeight.value);
      const h = tf.add(tf.add(tf.conv2d(x, this.inWeight.value as tf.Tensor4D, 1, 'same'), this.inBias.value), moved);
      return tf.conv2d(tf.mul(h, tf.sigmoid(h)) as tf.Tensor4D, this.outWeight.value as tf.Tensor4D, 1, 'same');
    });
  }
}

/** The discrete process of these alphaBar. */
export function processOf(alphaBar: readonly number[]) {
  return { alpha: alphaBar.map(Math.sqrt), sigma: alphaBar.map((a) => Math.sqrt(1 - a)) };
}
