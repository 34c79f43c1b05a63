import * as tf from '@tensorflow/tfjs-core';

/** How a diffusion model sees the latent images of an autoencoder: (z - shiftFactor) scalingFactor, about unit variance. */
export interface LatentScale {
  readonly scalingFactor: number;
  readonly shiftFactor: number;
  /** Mean and standard deviation of each latent channel, in the place of the shift (diffusers' `latents_mean`, `latents_std`). */
  readonly channels?: { readonly mean: readonly number[]; readonly std: readonly number[] } | undefined;
}

/** What the encoder gives, as the diffusion model takes it: (z - shift) scale, or (z - mean) scale / std. Rombach et al. 2022, appendix G. */
export function scaleLatents(z: tf.Tensor4D, { scalingFactor, shiftFactor, channels }: LatentScale): tf.Tensor4D {
  return tf.tidy(() => {
    if (channels === undefined) return tf.mul(tf.sub(z, shiftFactor), scalingFactor);
    const centred = tf.sub(z, tf.tensor1d([...channels.mean]));
    return tf.div(tf.mul(centred, scalingFactor), tf.tensor1d([...channels.std]));
  });
}

/** What the diffusion model gives, as the decoder takes it: z / scale + shift, or z std / scale + mean. */
export function unscaleLatents(z: tf.Tensor4D, { scalingFactor, shiftFactor, channels }: LatentScale): tf.Tensor4D {
  return tf.tidy(() => {
    if (channels === undefined) return tf.add(tf.div(z, scalingFactor), shiftFactor);
    const wide = tf.div(tf.mul(z, tf.tensor1d([...channels.std])), scalingFactor);
    return tf.add(wide, tf.tensor1d([...channels.mean]));
  });
}

/** What is wrong with the two numbers. */
export function scaleProblems({ scalingFactor, shiftFactor }: LatentScale): string[] {
  const problems: string[] = [];
  if (!Number.isFinite(scalingFactor) || scalingFactor === 0) {
    problems.push(`scalingFactor: expected a finite number that is not 0, got ${scalingFactor}`);
  }
  if (!Number.isFinite(shiftFactor)) problems.push(`shiftFactor: expected a finite number, got ${shiftFactor}`);
  return problems;
}
