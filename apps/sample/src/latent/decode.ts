import { type AutoencoderKL, unscaleLatents } from '@mezzotint/autoencoders';
import * as tf from '@tensorflow/tfjs-core';

/** Pictures of latent images, one after the other, `[N, H, W, 3]` about [-1, 1] on the host; says how many are done. */
export async function decodeLatents(
  vae: AutoencoderKL,
  latents: tf.Tensor4D,
  decoded: (done: number) => void = () => {},
): Promise<Float32Array> {
  const [count, h, w] = latents.shape;
  const size = h * w * vae.downscale ** 2 * vae.config.outChannels;
  const pictures = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    decoded(i);
    const picture = tf.tidy(() =>
      vae.decode(unscaleLatents(tf.slice(latents, [i, 0, 0, 0], [1, -1, -1, -1]), vae.config)),
    );
    pictures.set(await picture.data<'float32'>(), i * size);
    picture.dispose();
  }
  decoded(count);
  return pictures;
}
