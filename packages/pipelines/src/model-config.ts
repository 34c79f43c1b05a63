import { readingBudget } from '@mezzotint/core';
import { z } from 'zod';

/** A falling curve of log SNR. */
const logSnrCurve = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('cosine').describe('The cosine schedule cut to [min, max], then shifted.'),
    min: z.number().default(-15).describe('Least log SNR.'),
    max: z.number().default(15).describe('Largest log SNR.'),
    shift: z.number().default(0).describe('Added to it: 2 ln(noise size / image size).'),
  }),
  z.strictObject({
    kind: z.literal('sigmoid').describe('A piece of a sigmoid as gamma = alpha^2 (RIN).'),
    start: z.number().default(-3).describe('Where the piece begins.'),
    end: z.number().default(3).describe('Where it ends.'),
    tau: z.number().positive().default(0.9).describe('Temperature.'),
  }),
  z.strictObject({
    kind: z
      .literal('interpolated-cosine')
      .describe('From the cosine shifted to low pixels at the clean end to that shifted to high (simple diffusion).'),
    size: z.number().positive().describe('Pixels of the pictures, a side.'),
    low: z.number().positive().default(32).describe('Size whose noise the clean end has.'),
    high: z.number().positive().optional().describe('Size whose noise the noisy end has; size when absent.'),
    min: z.number().default(-15).describe('Least log SNR, before the shift.'),
    max: z.number().default(15).describe('Largest log SNR, before the shift.'),
  }),
  z.strictObject({
    kind: z.literal('gamma-linear').describe('gamma = alpha^2 = 1 - u (RIN on ImageNet 64x64).'),
  }),
  z.strictObject({
    kind: z.literal('gamma-cosine').describe('A piece of cos(pi t / 2)^(2 tau) as gamma = alpha^2.'),
    start: z.number().min(0).max(1).default(0).describe('Where the piece begins.'),
    end: z.number().min(0).max(1).default(1).describe('Where it ends.'),
    tau: z.number().positive().default(1).describe('Exponent.'),
  }),
  z.strictObject({
    kind: z
      .literal('gamma-offset-cosine')
      .describe('gamma = alpha^2 = cos(pi/2 (u + 0.0002) / 1.00025)^2, along which RIN samples.'),
  }),
  z.strictObject({
    kind: z.literal('gamma-log').describe('A piece of -log(t) as gamma = alpha^2.'),
    start: z.number().positive().default(1).describe('Where the piece begins.'),
    end: z.number().positive().default(100).describe('Where it ends.'),
    reversed: z.boolean().default(false).describe('From end to start: gamma falls late instead of early.'),
  }),
]);

/** The forward process of a model and what its network predicts; `ProcessConfig` of @mezzotint/schedulers. */
export const processSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('discrete').describe('Discrete forward process (DDPM).'),
    betas: z.enum(['linear', 'scaled-linear', 'cosine']).describe("Variances of the forward process's steps."),
    steps: z.int().min(2).max(100_000).default(1000).describe('Steps of the forward process.'),
    prediction: z.enum(['eps', 'x0', 'v']).describe('What the network predicts.'),
    learnedVariance: z
      .boolean()
      .default(false)
      .describe("The network's second half of channels interpolates the variance (Improved DDPM)."),
  }),
  z.strictObject({
    kind: z.literal('edm').describe("EDM's, sigma from sigmaMin to sigmaMax."),
    sigmaData: z.number().positive().default(0.5).describe('Standard deviation of the data in [-1, 1].'),
    sigmaMin: z.number().positive().default(0.002).describe('Least noise of sampling.'),
    sigmaMax: z.number().positive().default(80).describe('Most noise of sampling.'),
    denoises: z
      .boolean()
      .optional()
      .describe("The network preconditions itself: it takes x and sigma and gives x0 (EDM's and EDM2's classes)."),
  }),
  z.strictObject({
    kind: z.literal('flow').describe('Straight paths between image and noise.'),
    shift: z.number().positive().default(1).describe('Shift of the levels towards noise; 1 is none.'),
    timeScale: z.number().positive().default(1000).describe("The network's time at pure noise."),
  }),
  z.strictObject({
    kind: z.literal('log-snr').describe('Variance-preserving in continuous time.'),
    curve: logSnrCurve.describe('Log SNR over u in [0, 1].'),
    samplingCurve: logSnrCurve
      .optional()
      .describe('The curve that levels of sampling lie on; the same one when absent.'),
    prediction: z.enum(['eps', 'x0', 'v']).describe('What the network predicts.'),
    time: z
      .enum(['fraction', 'log-snr', 'gamma'])
      .default('fraction')
      .describe('What the network is told: timeScale u, the log SNR, or timeScale gamma.'),
    timeScale: z.number().positive().default(1000).describe('Scale of that.'),
  }),
]);

export type Process = z.infer<typeof processSchema>;

export const imageSchema = z.strictObject({
  size: z.int().min(1).max(4096),
  channels: z.union([z.literal(1), z.literal(3)]),
});

/** How the model's author samples from it. */
export const samplingSchema = z.strictObject({
  solver: z.string().describe('The name of a solver (`pnpm sample --help`).'),
  steps: z.int().min(1).max(readingBudget.steps).describe('Its steps.'),
  guidance: z.number().describe('Scale of classifier-free guidance; 1 is none.'),
  threshold: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('Dynamic thresholding of pixels at this quantile (Imagen: 0.995); clipped when absent or 0.'),
});

/** Names of the classes, in the order of their labels. */
const classNames = z.array(z.string().max(1000)).max(readingBudget.classes);

/**
 * How a model of latent images sees them: (z - mean) / deviation, channel by channel, where z is what the autoencoder's `encode`
 * gives (the sample of a Gaussian), before any scaling of its own. `index.json` of `encodeLatents` has these numbers.
 */
export const latentsSchema = z
  .strictObject({
    mean: z.array(z.number()).min(1).max(1024).describe('Mean of each latent channel over the training data.'),
    deviation: z.array(z.number().positive()).min(1).max(1024).describe('Standard deviation of each latent channel.'),
  })
  .refine(({ mean, deviation }) => mean.length === deviation.length, 'expected as many deviations as means');

/** What makes a diffusion model one that enlarges pictures. */
export const superResolutionSchema = z.strictObject({
  factor: z.int().min(2).max(16).describe('Pixels of the result for one of the picture, along a side.'),
  downsampling: z
    .enum(['area', 'bicubic'])
    .default('area')
    .describe('How the small pictures of the training were made: means of pixels, or bicubic with antialiasing.'),
  augmentation: z
    .enum(['gaussian', 'truncated'])
    .default('gaussian')
    .describe(
      'Noise of the small picture: after it was resized (Imagen), or before, as a base model has it that stops early (Cascaded diffusion).',
    ),
  most: z
    .number()
    .min(0)
    .max(1000)
    .default(1000)
    .describe('Largest noise level of the small pictures in training, of 0 (clean) to 1000 (noise alone).'),
  noiseLevel: z.number().min(0).max(1000).default(0).describe('Noise level that samples are made with.'),
});

/** Longest text that a model of one's own is given, in tokens: T5's 512, and more than any CLIP's. */
const MOST_TOKENS = 4096;

/** The text encoders of a model of one's own: folders beside its `config.json`, in transformers' form with their tokenizers. */
export const textSchema = z.strictObject({
  encoders: z
    .array(
      z.strictObject({
        folder: z
          .string()
          .regex(/^text_encoder(_[2-9])?$/)
          .describe('Its folder: text_encoder, text_encoder_2, ...'),
        length: z.int().min(2).max(MOST_TOKENS).describe('Tokens of a text.'),
        skip: z.int().min(0).max(1024).describe('Layers before the last that the tokens are taken from (CLIP).'),
      }),
    )
    .min(1)
    .max(9)
    .describe('One or several, in the order in which their tokens come.'),
});

/** A diffusion model's `config.json`; the network's own configuration is checked by the network. */
export const diffusionConfigSchema = z.strictObject({
  format: z.literal('mezzotint/diffusion@1'),
  /** The name of a registered architecture whose networks denoise. */
  architecture: z.string(),
  network: z.record(z.string(), z.unknown()),
  /** The pictures, in pixels, also of a model of latent images. */
  image: imageSchema,
  /** For a model of latent images. Its autoencoder is the folder `codec/` beside this file: one of ours, or of diffusers. */
  latents: latentsSchema.optional(),
  /** For a model that enlarges a smaller picture, which its network is given as `lowRes`. */
  superResolution: superResolutionSchema.optional(),
  /** For a model of texts. */
  text: textSchema.optional(),
  /** Names of the classes; the network's null label, if it has one, is the label after the last. Empty: unconditional. */
  classes: classNames,
  process: processSchema,
  sampling: samplingSchema,
});

export type DiffusionConfig = z.infer<typeof diffusionConfigSchema>;

/** A classifier's `config.json`. */
export const classifierConfigSchema = z.strictObject({
  format: z.literal('mezzotint/classifier@1'),
  /** The name of a registered architecture of classifiers. */
  architecture: z.string(),
  network: z.record(z.string(), z.unknown()),
  image: imageSchema,
  classes: classNames.min(2),
  /** The noise that it was trained under; null when it knows clean images only. */
  process: processSchema.nullable(),
});

export type ClassifierModelConfig = z.infer<typeof classifierConfigSchema>;

/** An autoencoder's `config.json`. */
export const autoencoderConfigSchema = z.strictObject({
  format: z.literal('mezzotint/autoencoder@1'),
  /** The name of a registered architecture of autoencoders. */
  architecture: z.string(),
  network: z.record(z.string(), z.unknown()),
  image: imageSchema,
});

export type AutoencoderModelConfig = z.infer<typeof autoencoderConfigSchema>;

/** Any model's `config.json`. */
export type ModelConfig = DiffusionConfig | ClassifierModelConfig | AutoencoderModelConfig;
