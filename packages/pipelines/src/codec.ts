import { type AutoencoderKL, type AutoencoderTiny, scaleLatents, unscaleLatents } from '@mezzotint/autoencoders';
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
        const { mean, logvar } = vae.encode(pictures); //                             [N, h, w, C] each
        const eps = tf.tensor4d(noise.draw(mean.shape, 0, 0), mean.shape);
        return scaleLatents(tf.add(mean, tf.mul(tf.exp(tf.mul(logvar, 0.5)), eps)), vae.config);
      }),
    decode: (latents) => tf.tidy(() => vae.decode(unscaleLatents(latents, vae.config))),
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

/** x W + b, `[N, h, w, 3]`. */
export function linearPreview(latents: tf.Tensor4D, { rows, bias }: LatentRgb): tf.Tensor4D {
  return tf.tidy(() => {
    const [n, h, w, c] = latents.shape;
    const flat = tf.reshape(latents, [n * h * w, c]);
    const colours = tf.add(tf.matMul(flat, tf.tensor2d(rows.map((row) => [...row]))), tf.tensor1d([...bias]));
    return tf.reshape(colours, [n, h, w, 3]);
  });
}
