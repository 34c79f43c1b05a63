import * as tf from '@tensorflow/tfjs-core';

/** How a diffusion model sees the latent images of an autoencoder: (z - shiftFactor) scalingFactor, about unit variance. */
export interface LatentScale {
  readonly scalingFactor: number;
  readonly shiftFactor: number;
}

/** What the encoder gives, as the diffusion model takes it: (z - shift) scale. Rombach et al. 2022, appendix G. */
export function scaleLatents(z: tf.Tensor4D, { scalingFactor, shiftFactor }: LatentScale): tf.Tensor4D {
  return tf.tidy(() => tf.mul(tf.sub(z, shiftFactor), scalingFactor));
}

/** What the diffusion model gives, as the decoder takes it: z / scale + shift. */
export function unscaleLatents(z: tf.Tensor4D, { scalingFactor, shiftFactor }: LatentScale): tf.Tensor4D {
  return tf.tidy(() => tf.add(tf.div(z, scalingFactor), shiftFactor));
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
