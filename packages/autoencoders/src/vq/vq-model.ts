import { foreignConfig, InvalidArgumentError, Module } from '@mezzotint/core';
import { Conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type CoderConfig, downscale, validateCoder } from '../coder/config.js';
import { Decoder } from '../coder/decoder.js';
import { coderDefaults, coderFromDiffusers, ignoredKey } from '../coder/diffusers.js';
import { Encoder } from '../coder/encoder.js';
import { checkImage } from '../inputs.js';
import { type LatentScale, scaleProblems } from '../latent-scale.js';
import { VectorQuantizer } from './vector-quantizer.js';

/** Configuration of {@link VQModel}. A plain JSON value. */
export interface VQModelConfig extends CoderConfig, LatentScale {
  /** Vectors of the codebook, K. */
  readonly codes: number;
  /** Width of a vector, D. */
  readonly codeWidth: number;
}

/**
 * Autoencoder whose latent pixels are entries of a codebook: VQ-VAE (van den Oord et al. 2017) with the network of
 * VQGAN (Esser et al. 2021). State dict: diffusers' `VQModel`.
 */
export class VQModel extends Module {
  readonly config: VQModelConfig;
  readonly encoder: Encoder;
  readonly quant_conv: Conv2d;
  readonly quantize: VectorQuantizer;
  readonly post_quant_conv: Conv2d;
  readonly decoder: Decoder;
  /** Pixels of the image a side for one pixel of the latent image, f. */
  readonly downscale: number;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: VQModelConfig) {
    super();
    const { latentChannels, codes, codeWidth } = config;
    validateCoder(new.target.name, config, { codes, codeWidth });
    const problems = scaleProblems(config);
    if (problems.length > 0) throw new InvalidArgumentError(new.target.name, problems);
    this.config = config;
    this.downscale = downscale(config);
    this.encoder = new Encoder(config, latentChannels);
    this.quant_conv = new Conv2d(latentChannels, codeWidth, 1);
    this.quantize = new VectorQuantizer(codes, codeWidth);
    this.post_quant_conv = new Conv2d(codeWidth, latentChannels, 1);
    this.decoder = new Decoder(config);
  }

  /**
   * The latent image before quantisation, on which latent diffusion works.
   * @param x images `[N, H, W, inChannels]` in [-1, 1]; the image again is as large only when f divides H and W
   * @returns `[N, floor(H/f), floor(W/f), codeWidth]`
   * @throws InvalidArgumentError when the shape does not fit
   */
  encode(x: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'x', x, this.config.inChannels, this.downscale);
    return tf.tidy(() => this.quant_conv.forward(this.encoder.forward(x)));
  }

  /** Quantises z `[N, h, w, codeWidth]` and gives its image, `[N, h f, w f, outChannels]`. The gradient goes straight to z. */
  decode(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decodeCodes(this.quantize.forward(z)));
  }

  /** The image of codebook vectors `[N, h, w, codeWidth]`: `[N, h f, w f, outChannels]`. */
  decodeCodes(codes: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decoder.conv_out.forward(this.decoderFeatures(codes)));
  }

  /** The image of codebook entries, int32 `[N, h, w]` in [0, codes): `[N, h f, w f, outChannels]`. */
  decodeIndices(indices: tf.Tensor3D): tf.Tensor4D {
    return tf.tidy(() => this.decodeCodes(this.quantize.lookup(indices)));
  }

  /** What the decoder's last convolution, `decoder.conv_out`, sees of codebook vectors. For `adversarialLoss`. */
  decoderFeatures(codes: tf.Tensor4D): tf.Tensor4D {
    checkImage(this.constructor.name, 'codes', codes, this.config.codeWidth);
    return tf.tidy(() => this.decoder.features(this.post_quant_conv.forward(codes)));
  }

  /** The image again: `[N, H, W, inChannels]` -> `[N, H, W, outChannels]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => this.decode(this.encode(x)));
  }
}

const keys = {
  defaults: {
    ...coderDefaults,
    latent_channels: 3,
    num_vq_embeddings: 256,
    vq_embed_dim: null,
    scaling_factor: 0.18215,
  },
  fixed: { act_fn: 'silu', norm_type: 'group' },
  // Whether a pipeline hands over indices or vectors: here two methods.
  ignored: (key: string) => key === 'lookup_from_codebook' || ignoredKey(key),
};

/**
 * Our configuration from the config.json of diffusers' `VQModel` (absent keys take that class's defaults).
 * @throws InvalidArgumentError naming every unknown or unsupported key
 */
export function vqModelFromDiffusers(json: unknown): VQModelConfig {
  const who = 'vqModelFromDiffusers';
  const read = foreignConfig(who, json, keys);
  const coder = coderFromDiffusers(who, read);
  return {
    ...coder,
    codes: read('num_vq_embeddings') as number,
    codeWidth: (read('vq_embed_dim') as number | null) ?? coder.latentChannels,
    scalingFactor: read('scaling_factor') as number,
    shiftFactor: 0,
  };
}
