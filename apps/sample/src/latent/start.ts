import { type AutoencoderKL, scaleLatents } from '@mezzotint/autoencoders';
import { InvalidArgumentError } from '@mezzotint/core';
import type { NoiseSource } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';

/** A picture that a run starts from. */
export interface StartPicture {
  /** `[1, H, W, 3]` in [-1, 1]. */
  readonly image: tf.Tensor4D;
  /** Share of the steps that are run on it, in (0, 1]; 1 keeps nothing of it but what the mask protects. */
  readonly strength: number;
  /** 1 where the picture is made anew, 0 where it stays, `[1, H, W, 1]`. */
  readonly mask?: tf.Tensor4D;
}

/** What a mask asks of the network and of the estimates. */
export interface Inpainting {
  /** 1 where the picture is made anew, `[N, h, w, 1]`. */
  readonly mask: tf.Tensor4D;
  /** The latent image of the picture with the masked part grey, `[N, h, w, C]`. */
  readonly masked: tf.Tensor4D;
}

/** The picture's latent image, drawn from its Gaussian and scaled, `[N, h, w, C]`. Noise: one draw. */
export function encodePicture(vae: AutoencoderKL, image: tf.Tensor4D, count: number, noise: NoiseSource): tf.Tensor4D {
  return tf.tidy(() => {
    const { mean, logvar } = vae.encode(image);
    const [, height, width, channels] = mean.shape;
    const shape: [number, number, number, number] = [count, height, width, channels];
    const eps = tf.tensor4d(noise.draw(shape, 0, 0), shape);
    const spread = tf.exp(tf.mul(logvar, 0.5)); //                                    [1, h, w, C]
    return scaleLatents(tf.add(mean, tf.mul(spread, eps)), vae.config);
  });
}

/**
 * What inpainting needs. Noise: one draw. The mask is sampled at the first of the pixels of each latent pixel, as diffusers
 * does.
 *
 * @throws InvalidArgumentError when the mask has another size than the picture
 */
export function inpaintingOf(
  vae: AutoencoderKL,
  image: tf.Tensor4D,
  mask: tf.Tensor4D,
  count: number,
  noise: NoiseSource,
): Inpainting {
  const [, height, width] = image.shape;
  if (mask.shape[1] !== height || mask.shape[2] !== width) {
    throw new InvalidArgumentError(
      'inpainting',
      `expected a mask of the picture's size [${image.shape}], got [${mask.shape}]`,
    );
  }
  const f = vae.downscale;
  return tf.tidy(() => {
    const hard = tf.cast(tf.greaterEqual(mask, 0.5), 'float32'); //                   [1, H, W, 1]
    const masked = encodePicture(vae, tf.mul<tf.Tensor4D>(image, tf.sub(1, hard)), count, noise);
    const small = tf.stridedSlice(hard, [0, 0, 0, 0], hard.shape, [1, f, f, 1]);
    const one = tf.reshape(small, [1, height / f, width / f, 1]) as tf.Tensor4D; //   [1, h, w, 1]
    return { mask: tf.tile(one, [count, 1, 1, 1]), masked } as { mask: tf.Tensor4D; masked: tf.Tensor4D };
  });
}
