import { imageSourceSchema, processSchema, samplingSchema } from '@mezzotint/app';
import { z } from 'zod';

const positive = z.number().positive();
const count = z.int().min(1);

const learningRate = z.strictObject({
  kind: z.enum(['constant', 'cosine', 'linear', 'inverse-sqrt']).default('constant'),
  peak: positive,
  /** Updates over which the rate rises from zero. */
  warmUp: z.int().min(0).default(0),
  /** Where cosine and linear end. */
  end: z.number().min(0).default(0),
  /** Updates at the peak before inverse-sqrt falls. */
  after: count.default(1000),
});

/** AdamW, with the first decay rate of the moments that suits what is trained. */
const optimizer = (beta1: number) =>
  z
    .strictObject({
      betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([beta1, 0.999]),
      epsilon: positive.default(1e-8),
      weightDecay: z.number().min(0).default(0),
      /** Longest gradient; longer ones are scaled down to it. */
      maxGradientNorm: positive.default(1),
    })
    .prefault({});

/** Settings that all tasks share. */
const common = {
  data: imageSourceSchema,
  /** Mirror images left-right with probability 1/2; wrong for digits. */
  flip: z.boolean().default(false),
  /** A preset of the architecture by name, `small`, `medium` or `large` for these images, or a whole configuration. */
  network: z.union([z.string(), z.record(z.string(), z.unknown())]),
  /** Updates of the weights in all. */
  steps: count,
  batchSize: count,
  /** Batches whose gradients are averaged into one update. */
  accumulation: count.default(1),
  seed: z.int().min(0).default(0),
  learningRate,
  optimizer: optimizer(0.9),
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
  /** The name of a registered architecture of denoisers. */
  architecture: z.string().default('ADMUNet'),
  ...common,
  process: processSchema,
  /** Weight of a noise level in the loss: all alike, or min(SNR, 5) (Hang et al. 2023). */
  weighting: z.enum(['uniform', 'min-snr']).default('uniform'),
  /** Fraction of labels that are replaced by the null label, so that guidance works; 0.1 where there is a null label. */
  labelDropout: z.number().min(0).max(1).optional(),
  sampling: samplingSchema,
});

const classifier = z.strictObject({
  task: z.literal('classifier'),
  /** The name of a registered architecture of classifiers. */
  architecture: z.string().default('NoisyClassifier'),
  ...common,
  /** Noise that the classifier must read through; null for clean images only. */
  process: processSchema.nullable().default(null),
  /** Share of each batch that stays clean. */
  cleanShare: z.number().min(0).max(1).default(0.5),
});

const autoencoder = z.strictObject({
  task: z.literal('autoencoder'),
  ...common,
  /** The name of a registered architecture of autoencoders. */
  architecture: z.string(),
  /** Distance between an image and its reconstruction. */
  reconstruction: z.enum(['l1', 'l2']).default('l1'),
  /** Weight of the KL term (AutoencoderKL, 1e-6 when absent) or of the commitment loss (VQModel, 0.25); the others have none. */
  regularisation: z.number().min(0).optional(),
  /** VQModel: the codebook moves by its gradient, or to the running mean of what it stands for. */
  codebook: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('gradient') }),
      z.strictObject({
        kind: z.literal('ema'),
        decay: z.number().min(0).lt(1).default(0.99),
        epsilon: positive.default(1e-5),
        /** A code that stands for fewer pixels of a batch is moved to one of them; 0 for never. */
        reviveBelow: z.number().min(0).default(0),
      }),
    ])
    .optional(),
  /** LPIPS beside the distance. */
  perceptual: z
    .strictObject({
      /** The file or the files of weights: torchvision's VGG16 and lpips' `vgg.pth`, or one that holds both. */
      weights: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
      weight: positive.default(1),
    })
    .optional(),
  /** A patch discriminator that the decoder must fool. */
  adversarial: z
    .strictObject({
      /** Updates of the autoencoder before the discriminator begins. */
      start: z.int().min(0),
      /** Factor of the adversarial term. */
      weight: positive.default(0.5),
      /** What the discriminator minimises. */
      loss: z.enum(['hinge', 'vanilla']).default('hinge'),
      /** Width of its first layer, and its convolutions of stride 2. */
      channels: count.default(64),
      layers: z.int().min(1).max(16).default(3),
      /** The adversarial term is scaled to move the last layer as hard as the others do. */
      adaptive: z.boolean().default(true),
      /** Its own; the autoencoder's when absent. */
      learningRate: learningRate.optional(),
      optimizer: optimizer(0.5),
    })
    .optional(),
});

/** What `train` reads from its configuration file. */
export const trainConfigSchema = z.discriminatedUnion('task', [diffusion, classifier, autoencoder]);

export type TrainConfig = z.infer<typeof trainConfigSchema>;
/** The settings that flags may give over those of the file. */
export type ConfigFlags = { steps?: number; batchSize?: number; seed?: number };
export type DiffusionTask = z.infer<typeof diffusion>;
export type ClassifierTask = z.infer<typeof classifier>;
/** How fast a network learns. */
export type LearningRateConfig = z.infer<typeof learningRate>;
export type OptimizerConfig = z.infer<ReturnType<typeof optimizer>>;
export type AutoencoderTask = z.infer<typeof autoencoder>;
