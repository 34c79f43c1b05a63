import type { AnyAutoencoder } from '@mezzotint/app';
import { hingeDiscriminatorLoss, type PatchDiscriminator, vanillaDiscriminatorLoss } from '@mezzotint/autoencoders';
import * as tf from '@tensorflow/tfjs-core';
import { decodedImages } from './autoencoder-loss.js';
import type { AutoencoderTask } from './config.js';
import type { Auxiliary } from './task.js';

const losses = { hinge: hingeDiscriminatorLoss, vanilla: vanillaDiscriminatorLoss } as const;

/** The discriminator that an autoencoder is trained against, in turns with it. VQGAN (Esser et al. 2021), eq. 5 and 6. */
export function discriminatorOf(
  config: AutoencoderTask & { readonly adversarial: object },
  model: AnyAutoencoder,
  discriminator: PatchDiscriminator,
): Auxiliary {
  const { start, loss, learningRate = config.learningRate, optimizer } = config.adversarial;
  return {
    ...{ model: discriminator, start, learningRate, optimizer },
    loss: ({ batch: { images, shape }, rng, observe }) =>
      tf.tidy(() => {
        const x = tf.tensor4d(images, [...shape]);
        const real = discriminator.forward(x);
        const decoded = discriminator.forward(decodedImages(model, config, x, rng));
        observe('logitsReal', real);
        observe('logitsDecoded', decoded);
        return losses[loss](real, decoded);
      }),
  };
}
