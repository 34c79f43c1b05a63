import { join } from 'node:path';
import { type AnyAutoencoder, type AutoencoderModelConfig, saveModel } from '@mezzotint/app';
import { architectureOfKind } from '@mezzotint/architectures';
import { EmaCodebook, PatchDiscriminator, VQModel } from '@mezzotint/autoencoders';
import { deriveSeed, InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { autoencoderLoss } from './autoencoder-loss.js';
import type { AutoencoderTask } from './config.js';
import { discriminatorOf } from './discriminator.js';
import { dataShape, networkConfig } from './network-config.js';
import { openPerceptual } from './perceptual.js';
import { reconstruct } from './reconstructions.js';
import type { Task } from './task.js';
import { picturesFor, type TrainingData } from './training-data.js';

/** Smallest images that LPIPS can see. */
const leastForLpips = 16;

/** An autoencoder of any kind, by its reconstruction, what keeps its latent images in order, LPIPS and a discriminator. */
export async function autoencoderTask(config: AutoencoderTask, source: TrainingData): Promise<Task> {
  const images = picturesFor('autoencoder', source);
  const { architecture, seed } = config;
  const record = architectureOfKind('autoencoder', architecture);
  const data = { ...dataShape(images), classes: null };
  const model = record.build(networkConfig(record, config.network, data)) as AnyAutoencoder;
  const { channels: inChannels } = images;
  const critic = config.adversarial;
  const discriminator =
    critic && new PatchDiscriminator({ inChannels, channels: critic.channels, layers: critic.layers });
  check(config, model, discriminator, images);
  const perceptual = config.perceptual && (await openPerceptual(config.perceptual.weights));
  const shown = images.heldOut?.images ?? (await images.first(32));
  const modelConfig: AutoencoderModelConfig = {
    format: 'mezzotint/autoencoder@1',
    architecture: record.name,
    network: model.config as unknown as Record<string, unknown>,
    image: { size: images.height, channels: images.channels },
  };
  model.init(seed);
  discriminator?.init(deriveSeed(seed, 'discriminator'));
  const codebook = codebookOf(config, model);
  const parts = { model, codebook, perceptual, discriminator };
  return {
    model,
    save: (folder, { half }) => saveModel(folder, modelConfig, model, { half, overwrite: true }),
    loss: ({ batch: { images: pixels, shape }, ...input }) =>
      tf.tidy(() => autoencoderLoss(config, parts, tf.tensor4d(pixels, [...shape]), input)),
    hooks: [{ afterUpdate: ({ rng }) => codebook?.update(rng) }],
    ...(codebook && { statefulParts: { codebook } }),
    ...(critic && {
      auxiliary: { discriminator: discriminatorOf({ ...config, adversarial: critic }, model, discriminator!) },
    }),
    async report(step, folder, signal) {
      signal.throwIfAborted();
      const file = join(folder, `step-${String(step).padStart(7, '0')}.png`);
      return reconstruct(model, shown, file);
    },
  };
}

/** The running means that move the codebook, when it does not learn by its gradient. */
function codebookOf({ codebook }: AutoencoderTask, model: AnyAutoencoder): EmaCodebook | undefined {
  return codebook?.kind === 'ema' && model instanceof VQModel ? new EmaCodebook(model.quantize, codebook) : undefined;
}

/** Throws unless the parts of a configuration fit each other and the images, with everything that does not. */
function check(
  { architecture, regularisation, codebook, perceptual, adversarial }: AutoencoderTask,
  { config, downscale }: AnyAutoencoder,
  discriminator: PatchDiscriminator | undefined,
  { height, channels }: Pick<TrainingData, 'height' | 'channels'>,
): void {
  const problems: string[] = [];
  for (const name of ['inChannels', 'outChannels'] as const) {
    if (config[name] !== channels) problems.push(`network: ${name} is ${config[name]}, the data needs ${channels}`);
  }
  if (height % downscale !== 0) {
    problems.push(`network: it needs a side that ${downscale} divides, the data has ${height}`);
  }
  if (regularisation !== undefined && architecture !== 'AutoencoderKL' && architecture !== 'VQModel') {
    problems.push(`regularisation: ${architecture} has no term that it weighs; leave it out`);
  }
  if (codebook !== undefined && architecture !== 'VQModel') {
    problems.push(`codebook: ${architecture} has none; leave it out, or choose VQModel`);
  }
  if (perceptual !== undefined && height < leastForLpips) {
    problems.push(`perceptual: LPIPS needs images of at least ${leastForLpips} pixels, the data has ${height}`);
  }
  if (discriminator !== undefined && height < discriminator.leastSide) {
    problems.push(
      `adversarial: ${adversarial!.layers} layers need images of at least ${discriminator.leastSide} pixels, the data has ${height}`,
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError('configuration', problems);
}
