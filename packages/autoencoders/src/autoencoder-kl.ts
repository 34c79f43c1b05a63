import {
  type ForeignConfigOptions,
  foreignConfig,
  InvalidArgumentError,
  Module,
  type RandomStream,
} from '@mezzotint/core';
import { Conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type CoderConfig, downscale, validateCoder } from './coder/config.js';
import { Decoder } from './coder/decoder.js';
import { coderDefaults, coderFromDiffusers, ignoredKey } from './coder/diffusers.js';
import { Encoder } from './coder/encoder.js';
import { type Gaussian, gaussianOf, sampleGaussian } from './gaussian.js';
import { checkImage } from './inputs.js';
import { type LatentScale, scaleProblems } from './latent-scale.js';

/** Configuration of {@link AutoencoderKL}. A plain JSON value. */
export interface AutoencoderKLConfig extends CoderConfig, LatentScale {
  /** A pointwise convolution behind the encoder (Stable Diffusion 1, 2 and XL; not 3, not FLUX). */
  readonly quantConv: boolean;
  /** A pointwise convolution before the decoder. */
  readonly postQuantConv: boolean;
}

/**
 * Variational autoencoder whose latent image is a Gaussian: that of Stable Diffusion and FLUX. Rombach et al. 2022,
 * section 3.1. State dict: diffusers' `AutoencoderKL`.
 */
export class AutoencoderKL extends Module {
  readonly config: AutoencoderKLConfig;
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  readonly quant_conv?: Conv2d;
  readonly post_quant_conv?: Conv2d;
  /** Pixels of the image a side for one pixel of the latent image, f. */
  readonly downscale: number;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: AutoencoderKLConfig) {
    super();
    validateCoder(new.target.name, config);
    const problems = scaleProblems(config);
    if (problems.length > 0) throw new InvalidArgumentError(new.target.name, problems);
    this.config = config;
    const { latentChannels: c } = config;
    this.downscale = downscale(config);
    this.encoder = new Encoder(config, 2 * c);
    this.decoder = new Decoder(config);
    if (config.quantConv) this.quant_conv = new Conv2d(2 * c, 2 * c, 1);
    if (config.postQuantConv) this.post_quant_conv = new Conv2d(c, c, 1);
  }

  /**
   * The Gaussian of the latent image.
   * @param x images `[N, H, W, inChannels]` in [-1, 1]; the image again is as large only when f divides H and W
   * @returns mean and log-variance, `[N, floor(H/f), floor(W/f), latentChannels]`
   * @throws InvalidArgumentError when the shape does not fit
   */
  encode(x: tf.Tensor4D): Gaussian {
    checkImage(this.constructor.name, 'x', x, this.config.inChannels, this.downscale);
    return tf.tidy(() => {
      const moments = this.encoder.forward(x); //                                     [N, h, w, 2C]
      return gaussianOf(this.quant_conv?.forward(moments) ?? moments);
    });
  }

  /**
   * The image of a latent image (not scaled: see `unscaleLatents`).
   * @param z `[N, h, w, latentChannels]`
   * @returns `[N, h f, w f, outChannels]`, about [-1, 1], not clipped
   * @throws InvalidArgumentError when the shape does not fit
   */
  decode(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decoder.conv_out.forward(this.decoderFeatures(z)));
  }

  /** What the decoder's last convolution, `decoder.conv_out`, sees: `[N, h f, w f, blockChannels[0]]`. For `adversarialLoss`. */
  decoderFeatures(z: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'z', z, this.config.latentChannels);
    return tf.tidy(() => this.decoder.features(this.post_quant_conv?.forward(z) ?? z));
  }

  /** The image again, from a sample of its Gaussian, or from the mean without `rng`. `[N, H, W, outChannels]`. */
  forward(x: tf.Tensor4D, rng?: RandomStream): tf.Tensor4D {
    return tf.tidy(() => {
      const gaussian = this.encode(x);
      return this.decode(rng === undefined ? gaussian.mean : sampleGaussian(gaussian, rng));
    });
  }
}

const keys = {
  defaults: {
    ...coderDefaults,
    latent_channels: 4,
    scaling_factor: 0.18215,
    shift_factor: null,
    use_quant_conv: true,
    use_post_quant_conv: true,
    latents_mean: null,
    latents_std: null,
  },
  fixed: { act_fn: 'silu' },
  ignored: ignoredKey,
};

/**
 * Our configuration from the config.json of diffusers' `AutoencoderKL` (absent keys take that class's defaults).
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function autoencoderKLFromDiffusers(json: unknown, options: ForeignConfigOptions = {}): AutoencoderKLConfig {
  const who = 'autoencoderKLFromDiffusers';
  const read = foreignConfig(who, json, keys, options);
  const [mean, std] = [read('latents_mean'), read('latents_std')] as (readonly number[] | null)[];
  const wrong = [mean, std].some((list) => list !== null && !isChannelList(list, read('latent_channels')));
  if (wrong || (mean === null) !== (std === null)) {
    throw new InvalidArgumentError(
      who,
      'latents_mean, latents_std: expected both or none, a number for each latent channel',
    );
  }
  return {
    ...coderFromDiffusers(who, read),
    ...(mean && std && { channels: { mean, std } }),
    scalingFactor: read('scaling_factor') as number,
    shiftFactor: (read('shift_factor') as number | null) ?? 0,
    quantConv: read('use_quant_conv') as boolean,
    postQuantConv: read('use_post_quant_conv') as boolean,
  };
}

function isChannelList(list: unknown, channels: unknown): boolean {
  return Array.isArray(list) && list.length === channels && list.every((value) => Number.isFinite(value));
}
