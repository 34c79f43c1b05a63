import { autoencoderArchitectures, imageSourceSchema, processSchema, samplingSchema } from '@mezzotint/app';
import { z } from 'zod';

const positive = z.number().positive();
const count = z.int().min(1);

/** Settings that all tasks share. */
const common = {
  data: imageSourceSchema,
  /** Mirror images left-right with probability 1/2; wrong for digits. */
  flip: z.boolean().default(false),
  /** A preset of the task's package by name (@mezzotint/unet, @mezzotint/autoencoders), or a network's whole configuration. */
  network: z.union([z.string(), z.record(z.string(), z.unknown())]),
  /** Updates of the weights in all. */
  steps: count,
  batchSize: count,
  /** Batches whose gradients are averaged into one update. */
  accumulation: count.default(1),
  seed: z.int().min(0).default(0),
  learningRate: z.strictObject({
    kind: z.enum(['constant', 'cosine', 'linear', 'inverse-sqrt']).default('constant'),
    peak: positive,
    /** Updates over which the rate rises from zero. */
    warmUp: z.int().min(0).default(0),
    /** Where cosine and linear end. */
    end: z.number().min(0).default(0),
    /** Updates at the peak before inverse-sqrt falls. */
    after: count.default(1000),
  }),
  optimizer: z
    .strictObject({
      betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
      epsilon: positive.default(1e-8),
      weightDecay: z.number().min(0).default(0),
      /** Longest gradient; longer ones are scaled down to it. */
      maxGradientNorm: positive.default(1),
    })
    .prefault({}),
  /** Decay of the averaged weights, which are what is sampled and saved. */
  ema: z.strictObject({ decay: z.number().min(0).lt(1) }).default({ decay: 0.999 }),
  /** Updates between lines of the log, sample grids (or held-out scores), and checkpoints. */
  every: z
    .strictObject({ log: count.default(20), sample: count.default(1000), checkpoint: count.default(500) })
    .prefault({}),
  /** Checkpoints that are kept. */
  keep: count.default(2),
  /** The model that comes out has its weights in half precision; checkpoints stay whole. */
  half: z.boolean().default(false),
};

const diffusion = z.strictObject({
  task: z.literal('diffusion'),
  ...common,
  process: processSchema,
  /** Weight of a noise level in the loss: all alike, or min(SNR, 5) (Hang et al. 2023). */
  weighting: z.enum(['uniform', 'min-snr']).default('uniform'),
  /** Share of labels that are replaced by the null label, so that guidance works. */
  labelDropout: z.number().min(0).max(1).default(0.1),
  sampling: samplingSchema,
});

const classifier = z.strictObject({
  task: z.literal('classifier'),
  ...common,
  /** Noise that the classifier must read through; null for clean images only. */
  process: processSchema.nullable().default(null),
  /** Share of each batch that stays clean. */
  cleanShare: z.number().min(0).max(1).default(0.5),
});

const autoencoder = z.strictObject({
  task: z.literal('autoencoder'),
  ...common,
  architecture: z.enum(autoencoderArchitectures),
  /** Distance between an image and its reconstruction. */
  reconstruction: z.enum(['l1', 'l2']).default('l1'),
  /** Weight of the KL term (AutoencoderKL, 1e-6 when absent) or of the commitment loss (VQModel, 0.25); the others have none. */
  regularisation: z.number().min(0).optional(),
});

/** What `train` reads from its configuration file. */
export const trainConfigSchema = z.discriminatedUnion('task', [diffusion, classifier, autoencoder]);

export type TrainConfig = z.infer<typeof trainConfigSchema>;
export type DiffusionTask = z.infer<typeof diffusion>;
export type ClassifierTask = z.infer<typeof classifier>;
export type AutoencoderTask = z.infer<typeof autoencoder>;
