import { Module, normal, Param } from '@mezzotint/core';
import { type ActivationKind, activate, Linear, timestepEmbedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/** How a number becomes its sinusoidal embedding. */
export interface SinusoidalOptions {
  readonly order: 'sin-cos' | 'cos-sin';
  readonly shift: number;
  /** Learned frequencies in the place of those of the table. */
  readonly frequencies?: FourierFrequencies | undefined;
}

/** The sinusoidal embedding of each of `[N]` numbers, `[N, width]`. */
export function sinusoidalEmbedding(
  t: tf.Tensor1D,
  width: number,
  { order, shift, frequencies }: SinusoidalOptions,
): tf.Tensor2D {
  return frequencies?.forward(t, order) ?? timestepEmbedding(t, width, { order, downscaleShift: shift });
}

/** Random Fourier features, sin(2 pi t f) and cos(2 pi t f) with fixed f ~ N(0, scale^2). Tancik et al. 2020. State: `weight`. */
export class FourierFrequencies extends Module {
  readonly weight: Param;

  /** `width` of the features, even. */
  constructor(width: number, scale: number) {
    super();
    this.weight = new Param([width / 2], { init: normal(scale), trainable: false });
  }

  /** t `[N]` -> `[N, width]`. */
  forward(t: tf.Tensor1D, order: 'sin-cos' | 'cos-sin'): tf.Tensor2D {
    return tf.tidy(() => {
      const time = tf.reshape(tf.cast(t, 'float32'), [-1, 1]);
      // In the reference's order: the angles are large, and another rounding of them gives another embedding.
      const angle = tf.mul(tf.mul(tf.mul(time, tf.reshape(this.weight.value, [1, -1])), 2), Math.PI);
      const halves = [tf.sin(angle), tf.cos(angle)];
      return tf.concat(order === 'sin-cos' ? halves : halves.reverse(), 1) as tf.Tensor2D;
    });
  }
}

/** What an {@link EmbeddingMlp} may have. */
export interface EmbeddingMlpOptions {
  /** Width of what is added to the input, or null. */
  readonly condition?: number | null;
  /** Between the maps; SiLU when absent. */
  readonly activation?: ActivationKind;
  /** After them; nothing when null or absent. */
  readonly post?: ActivationKind | null;
}

/** post(linear(act(linear(x + cond_proj(condition))))). `[N, in] -> [N, width]`. The condition: Meng et al. 2023, appendix B. */
export class EmbeddingMlp extends Module {
  readonly linear_1: Linear;
  readonly cond_proj?: Linear;
  readonly linear_2: Linear;
  readonly activation: ActivationKind;
  readonly post: ActivationKind | null;

  constructor(
    inputs: number,
    width: number,
    { condition = null, activation = 'silu', post = null }: EmbeddingMlpOptions = {},
  ) {
    super();
    this.activation = activation;
    this.post = post;
    this.linear_1 = new Linear(inputs, width);
    if (condition !== null) this.cond_proj = new Linear(condition, inputs, { bias: false });
    this.linear_2 = new Linear(width, width);
  }

  forward(x: tf.Tensor2D, condition?: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const h = condition === undefined ? x : (tf.add(x, this.cond_proj!.forward(condition)) as tf.Tensor2D);
      const out = this.linear_2.forward(activate(this.linear_1.forward(h), this.activation));
      return this.post === null ? out : activate(out, this.post);
    });
  }
}
