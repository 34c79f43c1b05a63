import {
  type AutoencoderKL,
  type AutoencoderTiny,
  type Gaussian,
  scaleLatents,
  unscaleLatents,
} from '@mezzotint/autoencoders';
import type { NoiseSource } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Codec } from './stage.js';

/** A linear map from latent channels to colours, for previews: rows of R, G, B for each channel, and what is added. */
export interface LatentRgb {
  readonly rows: readonly (readonly [number, number, number])[];
  readonly bias: readonly [number, number, number];
}

/** The KL autoencoder of latent diffusion as a codec. Rombach et al. 2022. */
export function klCodec(vae: AutoencoderKL, rgb: LatentRgb | null = null, parts: readonly string[] = ['vae']): Codec {
  const { latentChannels } = vae.config;
  return {
    parts,
    downscale: vae.downscale,
    channels: latentChannels,
    encode: (pictures, noise) =>
      tf.tidy(() => {
        const z = sampleOf(vae.encode(pictures), noise); //                           [N, h, w, C]
        return scaleLatents(z, vae.config);
      }),
    decode: (latents) => tf.tidy(() => vae.decode(unscaleLatents(latents, vae.config))),
    tinyReads: true,
    ...(rgb !== null && rgb.rows.length === latentChannels && { preview: (latents) => linearPreview(latents, rgb) }),
  };
}

/** The tiny autoencoder (TAESD, O. Boer Bohan) in the place of a KL one. It has no Gaussian: encoding draws no noise. */
export function tinyCodec(vae: AutoencoderTiny, parts: readonly string[] = ['vae']): Codec {
  const { latentChannels } = vae.config;
  const decode = (latents: tf.Tensor4D) => tf.tidy(() => vae.decode(unscaleLatents(latents, vae.config)));
  return {
    parts,
    downscale: vae.downscale,
    channels: latentChannels,
    encode: (pictures) => tf.tidy(() => scaleLatents(vae.encode(pictures), vae.config)),
    decode,
    preview: decode,
  };
}

/** An autoencoder as a standardised codec needs it; the classes of @mezzotint/autoencoders are such. */
export interface LatentAutoencoder {
  readonly downscale: number;
  /** Images `[N, H, W, C]` in [-1, 1] to latent images `[N, h, w, c]`, or a Gaussian of each. */
  encode(x: tf.Tensor4D): tf.Tensor4D | Gaussian;
  decode(z: tf.Tensor4D): tf.Tensor4D;
}

/** Mean and deviation of each latent channel over the training data, and the deviation that the network sees. */
export interface LatentStatistics {
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
  /** 1 when absent; EDM2 has 0.5. */
  readonly finalDeviation?: number;
}

/**
 * An autoencoder with latent images brought to mean 0 and one deviation, channel by channel: (z - mean) final / deviation. Karras et
 * al. 2024 (EDM2), appendix B.1. Noise: one draw where the autoencoder gives Gaussians, none elsewhere.
 */
export function standardizedCodec(
  autoencoder: LatentAutoencoder,
  { mean, deviation, finalDeviation = 1 }: LatentStatistics,
  parts: readonly string[] = ['vae'],
): Codec {
  return {
    parts,
    downscale: autoencoder.downscale,
    channels: mean.length,
    encode: (pictures, noise) =>
      tf.tidy(() => {
        const z = autoencoder.encode(pictures); //                                    [N, h, w, c]
        const raw = 'logvar' in z ? sampleOf(z, noise) : z;
        return tf.div(tf.mul(tf.sub(raw, [...mean]), finalDeviation), [...deviation]) as tf.Tensor4D;
      }),
    decode: (latents) =>
      tf.tidy(() => {
        const scale = deviation.map((s) => s / finalDeviation);
        return autoencoder.decode(tf.add(tf.mul(latents, scale), [...mean]) as tf.Tensor4D);
      }),
  };
}

/** mean + exp(logvar / 2) eps. */
function sampleOf({ mean, logvar }: Gaussian, noise: NoiseSource): tf.Tensor4D {
  const eps = tf.tensor4d(noise.draw(mean.shape, 0, 0), mean.shape);
  return tf.add(mean, tf.mul(tf.exp(tf.mul(logvar, 0.5)), eps));
}

/** x W + b, `[N, h, w, 3]`. */
export function linearPreview(latents: tf.Tensor4D, { rows, bias }: LatentRgb): tf.Tensor4D {
  return tf.tidy(() => {
    const [n, h, w, c] = latents.shape;
    const flat = tf.reshape(latents, [n * h * w, c]);
    const colours = tf.add(tf.matMul(flat, tf.tensor2d(rows.map((row) => [...row]))), tf.tensor1d([...bias]));
    return tf.reshape(colours, [n, h, w, 3]);
  });
}
