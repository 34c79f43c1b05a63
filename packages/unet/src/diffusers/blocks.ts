import { Module, type RandomStream } from '@mezzotint/core';
import {
  type ActivationKind,
  activate,
  averagePool2x,
  Conv2d,
  dropout,
  GroupNorm,
  Linear,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/** What the residual blocks of one model share. */
export interface ResnetOptions {
  /** Width of the embedding of the time. */
  readonly embedding: number;
  readonly groups: number;
  readonly epsilon: number;
  readonly dropout: number;
  readonly activation: ActivationKind;
  /** How the time enters: norm(h + time), or norm(h) (1 + scale) + shift (ADM). */
  readonly timeConditioning: 'additive' | 'scale-shift';
}

/** What one residual block has of its own. */
export interface ResnetShape {
  /** What the sum is divided by; 1 when absent. */
  readonly scale?: number;
  /** Halves or doubles both sides, by means or nearest neighbours, before the first convolution. */
  readonly resample?: 'down' | 'up';
}

/** (x + conv(act(norm(conv(act(norm(x))) + time)))) / scale. `[N,H,W,Cin] -> [N,H,W,Cout]`. */
export class ResnetBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly time_emb_proj: Linear;
  readonly norm2: GroupNorm;
  readonly conv2: Conv2d;
  readonly conv_shortcut?: Conv2d;
  readonly options: ResnetOptions;
  readonly shape: ResnetShape;

  constructor(inChannels: number, outChannels: number, options: ResnetOptions, shape: ResnetShape = {}) {
    super();
    const { embedding, groups, epsilon, timeConditioning } = options;
    this.options = options;
    this.shape = shape;
    this.norm1 = new GroupNorm(groups, inChannels, { epsilon });
    this.conv1 = new Conv2d(inChannels, outChannels, 3);
    this.time_emb_proj = new Linear(embedding, timeConditioning === 'additive' ? outChannels : 2 * outChannels);
    this.norm2 = new GroupNorm(groups, outChannels, { epsilon });
    this.conv2 = new Conv2d(outChannels, outChannels, 3);
    if (inChannels !== outChannels) this.conv_shortcut = new Conv2d(inChannels, outChannels, 1);
  }

  /** `emb` is act(embedding), `[N, E]`. */
  forward(x: tf.Tensor4D, emb: tf.Tensor2D, rng?: RandomStream): tf.Tensor4D {
    const { activation, dropout: rate, timeConditioning } = this.options;
    return tf.tidy(() => {
      const time = this.time_emb_proj.forward(emb); //                                [N, Cout] or [N, 2 Cout]
      const wide = tf.reshape(time, [time.shape[0], 1, 1, time.shape[1]]) as tf.Tensor4D;
      const h = this.conv1.forward(this.resampled(activate(this.norm1.forward(x), activation))); // [N, H, W, Cout]
      const timed =
        timeConditioning === 'additive' ? this.norm2.forward(tf.add<tf.Tensor4D>(h, wide)) : this.modulated(h, wide);
      const branch = this.conv2.forward(dropout(activate(timed, activation), rate, rng));
      const own = this.resampled(x);
      return divide(tf.add(this.conv_shortcut?.forward(own) ?? own, branch), this.shape.scale ?? 1);
    });
  }

  /** norm(h) (1 + scale) + shift. Dhariwal and Nichol 2021, section 3. */
  private modulated(h: tf.Tensor4D, time: tf.Tensor4D): tf.Tensor4D {
    const [scale, shift] = tf.split(time, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return tf.add(tf.mul(this.norm2.forward(h), tf.add(scale, 1)), shift);
  }

  private resampled(x: tf.Tensor4D): tf.Tensor4D {
    const { resample } = this.shape;
    if (resample === undefined) return x;
    return resample === 'down' ? averagePool2x(x) : upsample2x(x);
  }
}

/** A convolution of stride 2. */
export class Downsample extends Module {
  readonly conv: Conv2d;

  /** `padding`: 1 on each side, or 0, which is one at the bottom and the right. */
  constructor(channels: number, padding: 0 | 1) {
    super();
    const uneven = [
      [0, 1],
      [0, 1],
    ] as const;
    this.conv = new Conv2d(channels, channels, 3, { stride: 2, padding: padding === 0 ? uneven : 1 });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return this.conv.forward(x);
  }
}

/** Nearest neighbour and a convolution, to 2H x 2W or one row or column less. */
export class Upsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number) {
    super();
    this.conv = new Conv2d(channels, channels, 3);
  }

  forward(x: tf.Tensor4D, height = 2 * x.shape[1], width = 2 * x.shape[2]): tf.Tensor4D {
    return tf.tidy(() => {
      const twice = upsample2x(x); //                                                 [N, 2H, 2W, C]
      const whole = height === twice.shape[1] && width === twice.shape[2];
      return this.conv.forward(whole ? twice : tf.slice(twice, [0, 0, 0, 0], [-1, height, width, -1]));
    });
  }
}

/** x / scale. */
export function divide(x: tf.Tensor4D, scale: number): tf.Tensor4D {
  return scale === 1 ? x : tf.div(x, scale);
}

/** `make(0)` to `make(count - 1)`. */
export function repeat<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
