import { scaleLatents } from '@mezzotint/autoencoders';
import { InvalidArgumentError } from '@mezzotint/core';
import type { ExampleBatch } from '@mezzotint/data';
import * as tf from '@tensorflow/tfjs-core';
import type { TrainingBatch, TrainingBatches } from '../training-data.js';
import type { StableDiffusion } from './open.js';
import type { PromptStates } from './prompts.js';

/** A batch as the loss takes it: the Gaussians of its latent images. */
export interface LatentPictures extends TrainingBatch {
  /** Means and deviations, NHWC, as the encoder gives them. */
  readonly latents: {
    readonly mean: Float32Array;
    readonly deviation: Float32Array;
    readonly shape: readonly [number, number, number, number];
  };
  /** Of every prompt that the batch may be given, where the text encoder is not trained. */
  readonly states?: PromptStates;
}

/** The Gaussian of one latent image. */
interface Encoded {
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

/** Bytes of latent images that are kept, so that each picture is encoded once. */
const CACHE_BYTES = 2 ** 30;

/**
 * Encodes the pictures of a stream, one at a time, so that a picture's latent image does not depend on its batch. Pictures that are the
 * same in each epoch (`repeats`) are encoded once. Behind each batch come as many pictures of `prior`, where there are any.
 */
export function latentBatches(
  { vae }: StableDiffusion,
  stream: TrainingBatches,
  options: {
    readonly repeats: boolean;
    readonly prior?: TrainingBatches | undefined;
    /** The states that go with a batch of such captions. */
    readonly statesOf?: ((captions: readonly string[]) => Promise<PromptStates>) | undefined;
  },
): TrainingBatches {
  const { repeats, prior, statesOf } = options;
  const encode = encoder(vae);
  const caches = [new Map<number, Encoded>(), new Map<number, Encoded>()];
  let bytes = 0;
  const encodeAll = async (batch: TrainingBatch, cache: Map<number, Encoded>): Promise<Encoded[]> => {
    const { indices } = batch as Partial<ExampleBatch>;
    const [n, height, width, channels] = batch.shape;
    const area = height * width * channels;
    const encoded: Encoded[] = [];
    for (let i = 0; i < n; i++) {
      const index = repeats ? indices?.[i] : undefined;
      const known = index === undefined ? undefined : cache.get(index);
      const one = known ?? (await encode(batch.images.subarray(i * area, (i + 1) * area), [height, width, channels]));
      if (index !== undefined && known === undefined && bytes < CACHE_BYTES) {
        cache.set(index, one);
        bytes += 8 * one.mean.length;
      }
      encoded.push(one);
    }
    return encoded;
  };
  return {
    batchesPerEpoch: stream.batchesPerEpoch,
    async next(): Promise<LatentPictures> {
      const batch = await stream.next();
      const states = await statesOf?.(batch.captions ?? []);
      const encoded = await encodeAll(batch, caches[0]!);
      if (prior !== undefined) encoded.push(...(await encodeAll(await prior.next(), caches[1]!)));
      const [, height, width] = batch.shape;
      const shape = [encoded.length, height / vae.downscale, width / vae.downscale, vae.config.latentChannels] as const;
      const joined = (part: keyof Encoded) => {
        const all = new Float32Array(encoded.length * encoded[0]!.mean.length);
        encoded.forEach((one, i) => void all.set(one[part], i * one.mean.length));
        return all;
      };
      const latents = { mean: joined('mean'), deviation: joined('deviation'), shape };
      return { ...batch, latents, ...(states && { states }) };
    },
    state: () => ({ ...stream.state(), ...(prior && { prior: prior.state() }) }),
    resume(state) {
      const { prior: ofPrior, ...own } = state as { readonly prior?: unknown };
      if (prior !== undefined && ofPrior !== undefined) prior.resume(ofPrior);
      stream.resume(own);
    },
    close: async () => {
      await stream.close();
      await prior?.close();
    },
  };
}

/** The Gaussian of a picture's latent image. A tiny autoencoder has none: its deviation is 0. */
function encoder(vae: StableDiffusion['vae']) {
  return async (
    pixels: Float32Array,
    [height, width, channels]: readonly [number, number, number],
  ): Promise<Encoded> => {
    if (channels !== 3) throw new InvalidArgumentError('data', `expected pictures in colour, got ${channels} channel`);
    const [mean, deviation] = tf.tidy(() => {
      const gaussian = vae.encode(tf.tensor4d(pixels, [1, height, width, 3]));
      return 'logvar' in gaussian
        ? [gaussian.mean, tf.exp(tf.mul(gaussian.logvar, 0.5))]
        : [gaussian, tf.zerosLike(gaussian)];
    });
    const [m, d] = await Promise.all([mean!.data(), deviation!.data()]);
    tf.dispose([mean!, deviation!]);
    return { mean: Float32Array.from(m), deviation: Float32Array.from(d) };
  };
}

/** Latent images, drawn from their Gaussians and scaled as the UNet takes them. The draw is the next of `noise`. */
export function drawLatents(
  { vae }: StableDiffusion,
  { mean, deviation, shape }: LatentPictures['latents'],
  noise: ArrayLike<number>,
): tf.Tensor4D {
  const drawn = mean.map((m, i) => m + deviation[i]! * noise[i]!);
  return scaleLatents(tf.tensor4d(drawn, [...shape]), vae.config);
}
