import { Module } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type CoderConfig, downscale, validateCoder } from './coder/config.js';
import { Decoder } from './coder/decoder.js';
import { Encoder } from './coder/encoder.js';
import { checkImage } from './inputs.js';

/**
 * Plain autoencoder: the encoder and the decoder of the others with nothing between them, so the latent image is a
 * number for each element and nothing keeps it near zero. State dict: `encoder.*` and `decoder.*` as diffusers'
 * `AutoencoderKL`.
 */
export class Autoencoder extends Module {
  readonly config: CoderConfig;
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  /** Pixels of the image a side for one pixel of the latent image, f. */
  readonly downscale: number;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: CoderConfig) {
    super();
    validateCoder(new.target.name, config);
    this.config = config;
    this.downscale = downscale(config);
    this.encoder = new Encoder(config, config.latentChannels);
    this.decoder = new Decoder(config);
  }

  /**
   * Images `[N, H, W, inChannels]` in [-1, 1] -> `[N, floor(H/f), floor(W/f), latentChannels]`.
   * @throws InvalidArgumentError when the shape does not fit
   */
  encode(x: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'x', x, this.config.inChannels, this.downscale);
    return this.encoder.forward(x);
  }

  /**
   * Latent images `[N, h, w, latentChannels]` -> `[N, h f, w f, outChannels]`.
   * @throws InvalidArgumentError when the shape does not fit
   */
  decode(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decoder.conv_out.forward(this.decoderFeatures(z)));
  }

  /** What the decoder's last convolution, `decoder.conv_out`, sees. For `adversarialLoss`. */
  decoderFeatures(z: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'z', z, this.config.latentChannels);
    return this.decoder.features(z);
  }

  /** The image again: `[N, H, W, inChannels]` -> `[N, H, W, outChannels]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decode(this.encode(x)));
  }
}
