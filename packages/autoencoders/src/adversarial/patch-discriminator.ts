import { type Initializer, InvalidArgumentError, Module, normal, Param, zeros } from '@mezzotint/core';
import { Conv2d, groupNorm } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { checkImage } from '../inputs.js';

/** Configuration of {@link PatchDiscriminator}. A plain JSON value. */
export interface PatchDiscriminatorConfig {
  readonly inChannels: number;
  /** Width of the first layer; it doubles up to eightfold. 64 in VQGAN. */
  readonly channels: number;
  /** Convolutions of stride 2; 3 in VQGAN, so that a logit sees 70x70 pixels. */
  readonly layers: number;
}

/**
 * Tells real patches of an image from decoded ones: pix2pix's patch discriminator (Isola et al. 2017, appendix 6.1.2)
 * as VQGAN has it (Esser et al. 2021). It normalises by the statistics of the batch it is given, always. State: `main.0`
 * ... as in the reference, without the running statistics.
 */
export class PatchDiscriminator extends Module {
  readonly config: PatchDiscriminatorConfig;
  readonly main: Readonly<Record<number, Conv2d | BatchNorm>>;
  /** Smallest height and width of an image for which there is a logit. */
  readonly leastSide: number;

  /** @throws InvalidArgumentError when a number of the configuration is not whole or below 1 */
  constructor(config: PatchDiscriminatorConfig) {
    super();
    const { inChannels, channels, layers } = config;
    const problems = Object.entries({ inChannels, channels, layers })
      .filter(([, value]) => !Number.isSafeInteger(value) || value < 1)
      .map(([name, value]) => `${name}: expected a whole number of at least 1, got ${value}`);
    if (layers > 16) problems.push(`layers: expected at most 16, got ${layers}`);
    if (problems.length > 0) throw new InvalidArgumentError(new.target.name, problems);
    this.config = config;
    this.leastSide = 3 * 2 ** layers; // `layers` halvings, then two convolutions that take a pixel each
    const init = normal(0.02); // of the weights; biases too, which the norms behind them take away
    const main: Record<number, Conv2d | BatchNorm> = {
      0: new Conv2d(inChannels, channels, 4, { stride: 2, padding: 1, init }),
    };
    let width = channels;
    let place = 2; // behind the LeakyReLU
    for (let i = 1; i <= layers; i++) {
      const next = channels * Math.min(2 ** i, 8);
      main[place] = new Conv2d(width, next, 4, { stride: i < layers ? 2 : 1, padding: 1, bias: false, init });
      main[place + 1] = new BatchNorm(next);
      place += 3;
      width = next;
    }
    main[place] = new Conv2d(width, 1, 4, { padding: 1, init });
    this.main = main;
  }

  /**
   * x `[N, H, W, inChannels]` in [-1, 1] -> logits, one a patch, `[N, h, w, 1]`: above 0 means real.
   * @throws InvalidArgumentError when the shape does not fit
   */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'x', x, this.config.inChannels, this.leastSide);
    return tf.tidy(() => {
      const places = Object.keys(this.main).map(Number);
      let h = x;
      for (const place of places) {
        h = this.main[place]!.forward(h);
        const last = place === places.at(-1);
        const beforeNorm = this.main[place + 1] instanceof BatchNorm;
        if (!last && !beforeNorm) h = tf.leakyRelu(h, 0.2);
      }
      return h;
    });
  }
}

/** Normalises each channel by its mean and variance over the batch and all pixels. Ioffe and Szegedy 2015, algorithm 1. */
class BatchNorm extends Module {
  readonly weight: Param;
  readonly bias: Param;

  constructor(channels: number) {
    super();
    this.weight = new Param([channels], { init: aroundOne });
    this.bias = new Param([channels], { init: zeros });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const channels = x.shape[3];
      // One group a channel over one long image is the batch's statistics.
      const long = tf.reshape(x, [1, -1, 1, channels]) as tf.Tensor4D;
      const options = { groups: channels, epsilon: 1e-5 };
      return tf.reshape(groupNorm(long, this.weight.value, this.bias.value, options), x.shape);
    });
  }
}

/** N(1, 0.02^2), as pix2pix. */
const aroundOne: Initializer = (shape, rng) => normal(0.02)(shape, rng).map((x) => 1 + x);
