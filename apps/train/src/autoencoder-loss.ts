import type { AnyAutoencoder } from '@mezzotint/app';
import {
  AutoencoderKL,
  AutoencoderTiny,
  adversarialLoss,
  commitmentLoss,
  type EmaCodebook,
  generatorLoss,
  klLoss,
  l1Loss,
  l2Loss,
  type PatchDiscriminator,
  sampleGaussian,
  straightThrough,
  VQModel,
  vqLoss,
} from '@mezzotint/autoencoders';
import type { RandomStream } from '@mezzotint/core';
import type { Conv2d } from '@mezzotint/layers';
import type { LossInput } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { AutoencoderTask } from './config.js';

const distances = { l1: l1Loss, l2: l2Loss } as const;

/** What takes part in the loss of an autoencoder. */
export interface LossParts {
  readonly model: AnyAutoencoder;
  readonly codebook: EmaCodebook | undefined;
  readonly perceptual: ((y: tf.Tensor4D, x: tf.Tensor4D) => tf.Scalar) | undefined;
  readonly discriminator: PatchDiscriminator | undefined;
}

/** A decoded image but for its last convolution, and what keeps its latent image in order. */
interface Decoding {
  readonly features: tf.Tensor4D;
  readonly last: Conv2d;
  /** What the last convolution gives, as an image. */
  readonly image: (y: tf.Tensor4D) => tf.Tensor4D;
  readonly regularisation?: { readonly name: string; readonly value: tf.Scalar; readonly weight: number };
}

/**
 * Distance to the reconstruction, LPIPS and, after `start` updates, the adversarial term; for a KL or a VQ autoencoder also
 * its second term. VQGAN (Esser et al. 2021), eq. 4 to 7; latent diffusion (Rombach et al. 2022), eq. 25.
 */
export function autoencoderLoss(
  config: AutoencoderTask,
  { model, codebook, perceptual, discriminator }: LossParts,
  x: tf.Tensor4D,
  { rng, step, observe }: Omit<LossInput<unknown>, 'batch'>,
): tf.Scalar {
  const noted = (name: string, value: tf.Scalar) => {
    observe(name, value);
    return value;
  };
  const { features, last, image, regularisation } = decoding(model, config, x, rng, codebook);
  const reconstruction = (y: tf.Tensor4D) => {
    const distance = noted(config.reconstruction, distances[config.reconstruction](image(y), x));
    if (perceptual === undefined) return distance;
    return tf.add<tf.Scalar>(distance, tf.mul(noted('lpips', perceptual(image(y), x)), config.perceptual!.weight));
  };
  const fooling = (y: tf.Tensor4D) => noted('generatorLoss', generatorLoss(discriminator!.forward(image(y))));
  const { start, weight, adaptive } = config.adversarial ?? { start: 0, weight: 0, adaptive: false };
  const loss =
    discriminator === undefined
      ? reconstruction(last.forward(features))
      : adversarialLoss(
          features,
          last,
          { reconstruction, adversarial: fooling },
          {
            weight: step > start ? weight : 0,
            adaptive,
            observe: ({ lambda }) => void (lambda && noted('lambda', lambda)),
          },
        );
  if (regularisation === undefined) return loss;
  const { name, value } = regularisation;
  return tf.add(loss, tf.mul(noted(name, value), regularisation.weight));
}

/** Images again as the decoder is trained to give them; nothing of how they came to be is kept for a gradient. */
export function decodedImages(
  model: AnyAutoencoder,
  config: AutoencoderTask,
  x: tf.Tensor4D,
  rng: RandomStream,
): tf.Tensor4D {
  return tf.customGrad((x) => ({
    value: tf.tidy(() => {
      const { features, last, image } = decoding(model, config, x as tf.Tensor4D, rng, undefined);
      return image(last.forward(features));
    }),
    gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy),
  }))(x) as tf.Tensor4D;
}

function decoding(
  model: AnyAutoencoder,
  config: AutoencoderTask,
  x: tf.Tensor4D,
  rng: RandomStream,
  codebook: EmaCodebook | undefined,
): Decoding {
  const same = (y: tf.Tensor4D) => y;
  if (model instanceof AutoencoderTiny) {
    const features = model.decoderFeatures(model.encode(x));
    return { features, last: model.decoder.lastConv, image: (y) => tf.sub(tf.mul(y, 2), 1) };
  }
  const last = model.decoder.conv_out;
  if (model instanceof AutoencoderKL) {
    const gaussian = model.encode(x);
    const features = model.decoderFeatures(sampleGaussian(gaussian, rng));
    const kl = { name: 'kl', value: klLoss(gaussian, x.size / x.shape[0]), weight: config.regularisation ?? 1e-6 };
    return { features, last, image: same, regularisation: kl };
  }
  if (model instanceof VQModel) {
    const z = model.encode(x);
    const indices = model.quantize.nearest(z);
    const codes = model.quantize.lookup(indices);
    codebook?.observe(z, indices);
    const features = model.decoderFeatures(straightThrough(z, codes));
    const commitment = config.regularisation ?? 0.25;
    const regularisation =
      config.codebook?.kind === 'ema'
        ? { name: 'commitment', value: commitmentLoss(z, codes), weight: commitment }
        : { name: 'vq', value: vqLoss(z, codes, { commitment }), weight: 1 };
    return { features, last, image: same, regularisation };
  }
  return { features: model.decoderFeatures(model.encode(x)), last, image: same };
}
