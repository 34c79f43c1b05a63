import { z } from 'zod';

/** The forward process of a model and what its network predicts; `ProcessConfig` of @mezzotint/schedulers. */
export const processSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('discrete'),
    /** Variances of the chain's steps. */
    betas: z.enum(['linear', 'scaled-linear', 'cosine']),
    steps: z.int().min(2).max(100_000).default(1000),
    prediction: z.enum(['eps', 'x0', 'v']),
    /** The network's second half of channels is the share of the variance (Improved DDPM). */
    learnedVariance: z.boolean().default(false),
  }),
  z.strictObject({
    kind: z.literal('edm'),
    /** Standard deviation of the data in [-1, 1]. */
    sigmaData: z.number().positive().default(0.5),
    sigmaMin: z.number().positive().default(0.002),
    sigmaMax: z.number().positive().default(80),
    /** The network preconditions itself: it takes x and sigma and gives the estimate of x0 (EDM's and EDM2's classes). */
    denoises: z.boolean().optional(),
  }),
  z.strictObject({
    kind: z.literal('flow'),
    /** Shift of the levels towards noise; 1 is none. */
    shift: z.number().positive().default(1),
    /** The network's time at pure noise. */
    timeScale: z.number().positive().default(1000),
  }),
  z.strictObject({
    kind: z.literal('log-snr'),
    /** Log SNR over u in [0, 1]: a cut and shifted cosine, or a piece of a sigmoid as gamma = alpha^2. */
    curve: z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('cosine'),
        min: z.number().default(-15),
        max: z.number().default(15),
        shift: z.number().default(0),
      }),
      z.strictObject({
        kind: z.literal('sigmoid'),
        start: z.number().default(-3),
        end: z.number().default(3),
        tau: z.number().positive().default(0.9),
      }),
    ]),
    prediction: z.enum(['eps', 'x0', 'v']),
    /** What the network is told: timeScale u, the log SNR, or timeScale gamma. */
    time: z.enum(['fraction', 'log-snr', 'gamma']).default('fraction'),
    timeScale: z.number().positive().default(1000),
  }),
]);

export type Process = z.infer<typeof processSchema>;

export const imageSchema = z.strictObject({
  size: z.int().min(1).max(4096),
  channels: z.union([z.literal(1), z.literal(3)]),
});

/** How the model's author samples from it. */
export const samplingSchema = z.strictObject({
  solver: z.string(),
  steps: z.int().min(1),
  guidance: z.number(),
});

/** A diffusion model's `config.json`; the network's own configuration is checked by the network. */
export const diffusionConfigSchema = z.strictObject({
  format: z.literal('mezzotint/diffusion@1'),
  /** The name of a registered architecture whose networks denoise. */
  architecture: z.string(),
  network: z.record(z.string(), z.unknown()),
  image: imageSchema,
  /** Names of the classes; the network's null label, if it has one, is the label after the last. Empty: unconditional. */
  classes: z.array(z.string()),
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
  classes: z.array(z.string()).min(2),
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
