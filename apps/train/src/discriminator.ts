import type { AnyAutoencoder } from '@mezzotint/app';
import { hingeDiscriminatorLoss, type PatchDiscriminator, vanillaDiscriminatorLoss } from '@mezzotint/autoencoders';
import * as tf from '@tensorflow/tfjs-core';
import { decodedImages } from './autoencoder-loss.js';
import type { AutoencoderTask } from './config.js';
import type { Meter } from './meter.js';
import type { Companion } from './task.js';

const losses = { hinge: hingeDiscriminatorLoss, vanilla: vanillaDiscriminatorLoss } as const;

/** The discriminator that an autoencoder is trained against, in turns with it. VQGAN (Esser et al. 2021), eq. 5 and 6. */
export function discriminatorOf(
  config: AutoencoderTask & { readonly adversarial: object },
  model: AnyAutoencoder,
  discriminator: PatchDiscriminator,
  meter: Meter,
): Companion {
  const { start, loss, learningRate = config.learningRate, optimizer } = config.adversarial;
  return {
    ...{ name: 'discriminator', model: discriminator, start, learningRate, optimizer },
    loss: ({ images, shape }, rng) =>
      tf.tidy(() => {
        const x = tf.tensor4d(images, [...shape]);
        const real = discriminator.forward(x);
        const decoded = discriminator.forward(decodedImages(model, config, x, rng));
        meter.add('logitsReal', tf.mean(real));
        meter.add('logitsDecoded', tf.mean(decoded));
        return losses[loss](real, decoded);
      }),
  };
}
