import { processSchema, samplingSchema, superResolutionSchema } from '@mezzotint/app';
import { isSeed } from '@mezzotint/core';
import { recipes } from '@mezzotint/training';
import { z } from 'zod';

// Every key has a description: the reference page docs/train-configuration.md is made from them.

const positive = z.number().positive();
const count = z.int().min(1);

const learningRate = z.strictObject({
  kind: z.enum(['constant', 'cosine', 'linear', 'inverse-sqrt']).default('constant').describe('Shape of the rate.'),
  peak: positive.describe('The largest rate.'),
  warmUp: z.int().min(0).default(0).describe('Updates over which the rate rises from zero.'),
  end: z.number().min(0).default(0).describe('Where cosine and linear end.'),
  after: count.default(1000).describe('Updates at the peak before inverse-sqrt falls.'),
});

/** An optimizer, with the first decay rate of the moments that suits what is trained. */
const optimizer = (beta1: number, others: object = {}) =>
  z
    .strictObject({
      kind: z.enum(['adamw', 'adam', 'lamb']).default('adamw').describe('AdamW, Adam or LAMB.'),
      betas: z
        .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
        .default([beta1, 0.999])
        .describe('Decay rates of the two moments.'),
      epsilon: positive.default(1e-8).describe('Added to the root of the second moment.'),
      weightDecay: z.number().min(0).default(0).describe('Of weights, not of biases and norms.'),
      maxGradientNorm: positive
        .nullable()
        .default(1)
        .describe('Longest gradient; longer ones are scaled down to it. null: no clipping.'),
    })
    .prefault(others);

const data = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('digits').describe('The 10,000 digits that come with the project.'),
    part: z
      .enum(['train', 'held-out', 'all'])
      .default('train')
      .describe('8,000 digits to train on, the other 2,000, or all.'),
    flip: z.boolean().default(false).describe('Mirror images left-right; wrong for digits.'),
  }),
  z.strictObject({
    kind: z
      .literal('folder')
      .describe(
        'Pictures of a folder or a tar archive: class folders, captions in .txt files, captions.jsonl or metadata.jsonl, WebDataset shards.',
      ),
    path: z.string().min(1).describe('The folder or archive.'),
    size: z
      .int()
      .min(1)
      .max(4096)
      .describe('Pixels a side; with buckets, of the square that has the area of each batch.'),
    channels: z
      .union([z.literal(1), z.literal(3)])
      .default(3)
      .describe('1 for gray, 3 for colour.'),
    labels: z.enum(['auto', 'none']).default('auto').describe('none: folders are no classes.'),
    crop: z.enum(['center', 'random']).default('center').describe('Which part is cut from the longer side.'),
    flip: z.boolean().default(false).describe('Mirror pictures left-right with probability 1/2; wrong for text.'),
    buckets: z
      .strictObject({
        step: count.describe('Sides are multiples of it.'),
        ratio: z.number().min(1).default(2).describe('Longest side by shortest side.'),
      })
      .optional()
      .describe('Aspect buckets: pictures keep nearly their shape, a batch is of one shape.'),
    heldOut: z
      .number()
      .min(0)
      .max(0.5)
      .default(0)
      .describe('Fraction that is not trained on but scored (at most 512 pictures).'),
    heldOutSeed: z.int().min(0).default(0).describe('Which pictures are held out: another number, another choice.'),
    heldOutPath: z
      .string()
      .min(1)
      .optional()
      .describe('Another folder or archive that is scored instead of a fraction (at most 512 of its pictures).'),
    threads: z.int().min(0).max(64).default(1).describe('Threads that decode; 0 decodes between updates.'),
  }),
  z.strictObject({
    kind: z
      .literal('latents')
      .describe('Latent images that `train encode` made once of pictures; the autoencoder comes with them.'),
    path: z.string().min(1).describe('Their folder.'),
    flip: z
      .boolean()
      .optional()
      .describe(
        'Take each picture or its mirrored one with probability 1/2, which `train encode --flip` encoded, too; when absent where there are mirrored ones.',
      ),
  }),
]);

const init = z.strictObject({
  from: z
    .string()
    .min(1)
    .describe('A run or model folder of ours, a diffusers folder, or one file of weights (safetensors, ckpt, GGUF).'),
  strict: z
    .boolean()
    .default(false)
    .describe('Every tensor must be there and fit; else what does not fit is made anew and listed.'),
});

const lora = z.strictObject({
  rank: count.default(8).describe('Rank of every change.'),
  alpha: positive.optional().describe('The change counts alpha / rank; the rank when absent.'),
  targets: z
    .array(z.string())
    .min(1)
    .optional()
    .describe(
      'Paths of linear and convolution layers, * for any text; those of the attention (of ZigMa the mixers) when absent, or all where there is none.',
    ),
  dora: z.boolean().default(false).describe('Learns the lengths of the rows apart (DoRA).'),
});

/** What every text encoder has. */
const encoderLength = {
  length: z.int().min(2).optional().describe('Tokens of a caption; its longest when absent, at most 77.'),
  dropout: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Fraction of captions that this encoder alone does not see, so that it may be left out later.'),
};

const conditions = z.strictObject({
  kind: z.literal('captions').describe('The captions of the pictures.'),
  encoders: z
    .array(
      z.union([
        z.strictObject({
          from: z
            .string()
            .min(1)
            .describe(
              "A text encoder: a run of the task clip, or a folder of transformers' CLIP or T5 with its tokenizer (also `text_encoder` of a diffusers folder).",
            ),
          trained: z.boolean().default(false).describe('It is trained along, and comes out with the model.'),
          skip: z
            .int()
            .min(0)
            .default(1)
            .describe(
              'CLIP: layers before the last that the tokens are taken from, normed. 1 as in Stable Diffusion 2; 0 as in 1.',
            ),
          ...encoderLength,
        }),
        z.strictObject({
          new: z
            .enum(['small', 'medium', 'large'])
            .describe("A text tower of CLIP's kind that begins at random and is trained along."),
          vocabulary: count.default(4096).describe('Tokens of its vocabulary, which is learned of the captions.'),
          ...encoderLength,
        }),
      ]),
    )
    .min(1)
    .max(9)
    .describe('One or several, side by side.'),
  dropout: z
    .number()
    .min(0)
    .max(1)
    .default(0.1)
    .describe('Fraction of captions that are replaced by none for all encoders, so that guidance works.'),
  tags: z
    .strictObject({
      separator: z.string().min(1).default(', ').describe('What stands between tags.'),
      keep: z.int().min(0).default(1).describe('The first tags, which stay where they are.'),
      dropout: z.number().min(0).max(1).default(0).describe('Fraction of the other tags that is left out.'),
    })
    .optional()
    .describe('Captions are lists of tags, which are shuffled each time; captions as they are when absent.'),
  prompts: z
    .array(z.string())
    .max(64)
    .default([])
    .describe('What sample grids show, a row each; the first captions of held-out pictures when empty.'),
});

const density = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('uniform').describe('All levels alike (Liu et al. 2022).') }),
    z.strictObject({
      kind: z.literal('logit-normal').describe('sigmoid of a normal number (Esser et al. 2024, eq. 19).'),
      mean: z.number().default(0).describe('Its mean.'),
      std: positive.default(1).describe('Its deviation.'),
    }),
    z.strictObject({
      kind: z.literal('mode').describe('Heavy tails (eq. 20).'),
      scale: z.number().default(1.29).describe('s, above 0 for more levels in the middle.'),
    }),
    z.strictObject({ kind: z.literal('cosine').describe('The log SNR of the cosine schedule (eq. 21).') }),
    z.strictObject({
      kind: z
        .literal('log-normal')
        .describe(
          "For EDM's process: ln sigma is a normal number (Karras et al. 2022, table 1; -1.2 and 1.2, EDM2 -0.4 and 1).",
        ),
      mean: z.number().describe('Its mean.'),
      std: positive.describe('Its deviation.'),
    }),
  ])
  .optional();

const averages = z
  .strictObject({
    decay: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe('Decay of the averaged weights; 1 - 10 / steps, at most 0.9999, when absent.'),
    sigmaRel: z
      .array(positive.lt(1 / Math.sqrt(12)).multipleOf(0.001))
      .default([])
      .describe(
        'Relative widths of power function averages that are kept beside it, below 0.288 and with at most three decimals (EDM2: 0.05 and 0.1).',
      ),
    snapshotEvery: count
      .optional()
      .describe('Updates between snapshots of the power function averages, for post-hoc EMA; none when absent.'),
  })
  .refine(({ sigmaRel, snapshotEvery }) => snapshotEvery === undefined || sigmaRel.length > 0, {
    path: ['snapshotEvery'],
    error: 'snapshots are of the averages of sigmaRel, and there are none: say sigmaRel, or leave it out',
  })
  .prefault({});

/** Settings that all tasks share. */
const common = {
  data: data.describe('What is trained on.'),
  network: z
    .union([z.string(), z.record(z.string(), z.unknown())])
    .describe(
      'A preset of the architecture by name, small, medium or large for these images, or a whole configuration.',
    ),
  init: init.optional().describe('Weights to begin with; random when absent.'),
  freeze: z
    .array(z.string())
    .default([])
    .describe('Parameters that are not trained, by patterns of their keys, * for any text.'),
  checkpointGradients: z
    .array(z.string())
    .default([])
    .describe('Modules that recompute themselves on the way back to save memory, by patterns such as blocks.*'),
  steps: count.describe('Updates of the weights in all.'),
  batchSize: count.describe('Images in a batch.'),
  accumulation: count.default(1).describe('Batches whose gradients are averaged into one update.'),
  microBatches: count
    .optional()
    .describe(
      'Equal parts that the pictures of an update are computed in, on all ranks together; accumulation, or as many as the ranks need, when absent. Updates are the same bits on every number of ranks that divides it by a power of two.',
    ),
  distributed: z
    .strictObject({
      wire: z
        .enum(['float32', 'bfloat16'])
        .default('float32')
        .describe('Format of gradients between ranks; bfloat16 is half the bytes, with errors of 0.4 %.'),
      shardOptimizer: z
        .boolean()
        .default(false)
        .describe('Each rank keeps the moments of its part of the weights (ZeRO-1); the result is the same.'),
      bucketMiB: positive.default(25).describe('Gradients that are sent at once, while the next are read.'),
    })
    .prefault({})
    .describe('How the ranks of mpirun work together (packages/distributed/README.md).'),
  seed: z
    .union([
      z.int().min(0),
      z
        .string()
        .regex(/^\d{1,20}$/)
        .refine(isSeed, 'expected at most 2^64 - 1'),
    ])
    .default(0)
    .describe('Seed of weights, order and noise, up to 2^64 - 1; above 2^53 - 1 its digits as a text.'),
  ema: averages.describe('Averaged weights, which are what is sampled and saved.'),
  every: z
    .strictObject({
      log: count.default(20).describe('Updates between lines of the log.'),
      sample: count.default(1000).describe('Updates between sample grids and scores of held-out images.'),
      checkpoint: count.default(500).describe('Updates between checkpoints.'),
    })
    .prefault({})
    .describe('How often.'),
  keep: count.default(2).describe('Checkpoints that are kept.'),
  half: z
    .boolean()
    .default(false)
    .describe('The model that comes out has its weights in half precision; checkpoints stay whole.'),
};

const fixedOptimizer = {
  learningRate: learningRate.describe('How fast the network learns.'),
  optimizer: optimizer(0.9).describe('What changes the weights.'),
};

const diffusion = z.strictObject({
  task: z.literal('diffusion').describe('A diffusion or flow model.'),
  architecture: z
    .string()
    .default('ADMUNet')
    .describe('The name of a registered architecture of denoisers (`pnpm describe`).'),
  ...common,
  recipe: z
    .enum(recipes.map(({ name }) => name) as [string, ...string[]])
    .optional()
    .describe(
      'What is learned and how: fills in what is left out of process, optimizer, learningRate and sampling. From the process when absent.',
    ),
  process: processSchema.optional().describe("Forward process and prediction; the recipe's when absent."),
  density: density.describe(
    "How often which noise level is trained, of a flow or of EDM's process; the recipe's when absent.",
  ),
  conditions: conditions
    .optional()
    .describe('What the network is conditioned on beside classes; the classes of the data alone when absent.'),
  weighting: z
    .enum(['uniform', 'min-snr'])
    .default('uniform')
    .describe(
      'Weight of a noise level in the loss of a process without recipe: all alike, or min(SNR, 5) (Hang et al. 2023).',
    ),
  learningRate: learningRate.optional().describe("How fast the network learns; the recipe's when absent."),
  optimizer: optimizer(0.9).optional().describe("What changes the weights; the recipe's when absent."),
  labelDropout: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'Fraction of labels that are replaced by the null label, so that guidance works; 0.1 where there is a null label.',
    ),
  augment: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      "Probability of each transform of EDM's augmentation, which a network of EDM is told; 0.12 in the paper.",
    ),
  lora: lora.optional().describe('Trains a low-rank adapter of the network instead of the network; needs init.'),
  sampling: samplingSchema
    .optional()
    .describe("How grids are sampled, and what the model's folder advises; the recipe's when absent."),
});

const superResolution = z.strictObject({
  task: z.literal('super-resolution').describe('A diffusion model that enlarges pictures.'),
  ...common,
  ...diffusion.pick({
    ...{ recipe: true, process: true, weighting: true, learningRate: true, optimizer: true, labelDropout: true },
    ...{ sampling: true, conditions: true },
  }).shape,
  recipe: diffusion.shape.recipe.describe(
    'As for diffusion; imagen when neither it nor a process is given. What is left out of process, optimizer, learningRate and sampling is its.',
  ),
  architecture: z
    .string()
    .default('SuperResolutionUNet')
    .describe(
      'SuperResolutionUNet (ADM, with classes) or EfficientUNet (Imagen), or another denoiser that sees `lowRes`.',
    ),
  crop: count
    .optional()
    .describe(
      'Pixels a side of the squares that are cut from the pictures at random and learned; the whole pictures when absent.',
    ),
  superResolution: superResolutionSchema.describe('How much larger, and what the small pictures are.'),
});

const classifier = z.strictObject({
  task: z.literal('classifier').describe('A classifier of clean or noisy images.'),
  architecture: z.string().default('NoisyClassifier').describe('The name of a registered architecture of classifiers.'),
  ...common,
  ...fixedOptimizer,
  process: processSchema
    .nullable()
    .default(null)
    .describe('Noise that the classifier must read through; null for clean images only.'),
  cleanShare: z.number().min(0).max(1).default(0.5).describe('Fraction of each batch that stays clean.'),
});

const clip = z.strictObject({
  task: z.literal('clip').describe('CLIP: texts and pictures in one space, learned of captions (Radford et al. 2021).'),
  ...common,
  architecture: z.literal('ClipModel').default('ClipModel').describe('The network.'),
  learningRate: learningRate
    .prefault({ kind: 'cosine', peak: 1e-3, warmUp: 200 })
    .describe('How fast the network learns.'),
  optimizer: optimizer(0.9, { betas: [0.9, 0.98], epsilon: 1e-6, weightDecay: 0.2 }).describe(
    'What changes the weights.',
  ),
  tokenizer: z
    .union([
      z.strictObject({
        size: count.default(4096).describe('Tokens of a vocabulary that is learned of the captions.'),
        minFrequency: count.default(2).describe('How often a pair must stand in them to become a token.'),
      }),
      z.strictObject({ from: z.string().min(1).describe('A folder with vocab.json and merges.txt.') }),
    ])
    .prefault({})
    .describe('How captions become tokens.'),
});

const { network: _, init: __, ...commonButNetwork } = common;

const stableDiffusion = z.strictObject({
  task: z
    .literal('stable-diffusion')
    .describe('Fine-tuning of Stable Diffusion 1 or 2: a LoRA, a new token (textual inversion), or the whole UNet.'),
  model: z
    .string()
    .min(1)
    .describe('A folder of diffusers (model_index.json) with UNet, autoencoder and text encoder.'),
  ...commonButNetwork,
  prompt: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe('What pictures without caption show; of several one is drawn for each picture.'),
  promptDropout: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Fraction of prompts that are replaced by the empty one, which guidance goes away from.'),
  weighting: z
    .enum(['uniform', 'min-snr'])
    .default('uniform')
    .describe('Weight of a noise level in the loss: all alike, or min(SNR, 5) (Hang et al. 2023).'),
  lora: lora
    .extend({ textEncoder: z.boolean().default(false).describe("Changes the text encoder's attention, too.") })
    .optional()
    .describe('Trains a low-rank adapter in the place of the UNet.'),
  token: z
    .strictObject({
      text: z
        .string()
        .min(1)
        .regex(/^\S+$/, 'expected no spaces')
        .describe('What prompts call it, such as <my-cat>; must be no word that the tokenizer has.'),
      initializer: z.string().min(1).describe('A word that it begins as.'),
      vectors: count.default(1).describe('Vectors that it has.'),
    })
    .optional()
    .describe('Trains a new token of the text encoder in the place of the UNet: textual inversion (Gal et al. 2023).'),
  prior: z
    .strictObject({
      prompt: z.string().min(1).describe('The class of what is learned, such as "a photo of a cat".'),
      pictures: z
        .string()
        .min(1)
        .optional()
        .describe('A folder of pictures of the class; made by the model before the training when absent.'),
      count: count.default(100).describe('Pictures that are made.'),
      weight: z.number().min(0).default(1).describe('Weight of their loss.'),
    })
    .optional()
    .describe("DreamBooth's prior preservation: pictures of the class are trained beside yours (Ruiz et al. 2023)."),
  samples: z
    .strictObject({
      prompts: z
        .array(z.string())
        .min(1)
        .optional()
        .describe("What they show; the data's first four prompts when absent."),
      steps: count.default(20).describe("Steps of the model's own solver."),
      guidance: z.number().min(0).default(7.5).describe('Guidance scale.'),
    })
    .prefault({})
    .describe('Samples that show how it does.'),
  learningRate: learningRate
    .optional()
    .describe('How fast is learned; constant when absent: 1e-4 for a LoRA, 5e-4 for a token, 5e-6 for a UNet.'),
  optimizer: optimizer(0.9, { weightDecay: 0.01 }).describe('What changes the weights.'),
});

const autoencoder = z.strictObject({
  task: z.literal('autoencoder').describe('An autoencoder.'),
  ...common,
  ...fixedOptimizer,
  architecture: z.string().describe('The name of a registered architecture of autoencoders.'),
  reconstruction: z.enum(['l1', 'l2']).default('l1').describe('Distance between an image and its reconstruction.'),
  regularisation: z
    .number()
    .min(0)
    .optional()
    .describe(
      'Weight of the KL term (AutoencoderKL, 1e-6 when absent) or of the commitment loss (VQModel, 0.25); the others have none.',
    ),
  codebook: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('gradient').describe('The codebook learns by its gradient.') }),
      z.strictObject({
        kind: z.literal('ema').describe('The codebook moves to the running mean of what it stands for.'),
        decay: z.number().min(0).lt(1).default(0.99).describe('Decay of that mean.'),
        epsilon: positive.default(1e-5).describe('Added to counts before they divide.'),
        reviveBelow: z
          .number()
          .min(0)
          .default(0)
          .describe('A code that stands for fewer pixels of a batch is moved to one of them; 0 for never.'),
      }),
    ])
    .optional()
    .describe('VQModel: how the codebook learns.'),
  perceptual: z
    .strictObject({
      weights: z
        .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
        .describe("The file or the files of weights: torchvision's VGG16 and lpips' vgg.pth, or one that holds both."),
      weight: positive.default(1).describe('Factor of the distance.'),
    })
    .optional()
    .describe('LPIPS beside the distance.'),
  adversarial: z
    .strictObject({
      start: z.int().min(0).describe('Updates of the autoencoder before the discriminator begins.'),
      weight: positive.default(0.5).describe('Factor of the adversarial term.'),
      loss: z.enum(['hinge', 'vanilla']).default('hinge').describe('What the discriminator minimises.'),
      channels: count.default(64).describe('Width of its first layer.'),
      layers: z.int().min(1).max(16).default(3).describe('Its convolutions of stride 2.'),
      adaptive: z
        .boolean()
        .default(true)
        .describe('The adversarial term is scaled to move the last layer as hard as the others do.'),
      learningRate: learningRate.optional().describe("Its own; the autoencoder's when absent."),
      optimizer: optimizer(0.5).describe('Its own.'),
    })
    .optional()
    .describe('A patch discriminator that the decoder must fool.'),
});

/** What `train` reads from its configuration file. */
export const trainConfigSchema = z.discriminatedUnion('task', [
  diffusion,
  superResolution,
  classifier,
  autoencoder,
  clip,
  stableDiffusion,
]);

export type TrainConfig = z.infer<typeof trainConfigSchema>;
/** The settings that flags may give over those of the file. */
export type ConfigFlags = {
  steps?: number;
  batchSize?: number;
  seed?: number | string;
  distributed: Partial<TrainConfig['distributed']>;
};
export type DataConfig = z.infer<typeof data>;
export type DiffusionTask = z.infer<typeof diffusion>;
/** A diffusion task whose recipe has filled in what was left out. */
export type WholeDiffusionTask = Omit<DiffusionTask, Filled> & { [K in Filled]: NonNullable<DiffusionTask[K]> };
type Filled = 'process' | 'learningRate' | 'optimizer' | 'sampling';
export type SuperResolutionTask = z.infer<typeof superResolution>;
/** A super-resolution task whose recipe has filled in what was left out. */
export type WholeSuperResolutionTask = Omit<SuperResolutionTask, Filled> & {
  [K in Filled]: NonNullable<SuperResolutionTask[K]>;
};
export type WholeConfig =
  | WholeDiffusionTask
  | WholeSuperResolutionTask
  | ClassifierTask
  | AutoencoderTask
  | ClipTask
  | WholeStableDiffusionTask;
export type ClassifierTask = z.infer<typeof classifier>;
/** How fast a network learns. */
export type LearningRateConfig = z.infer<typeof learningRate>;
export type OptimizerConfig = z.infer<ReturnType<typeof optimizer>>;
export type AutoencoderTask = z.infer<typeof autoencoder>;
export type ClipTask = z.infer<typeof clip>;
/** How captions condition a network. */
export type ConditionsConfig = z.infer<typeof conditions>;
export type StableDiffusionTask = z.infer<typeof stableDiffusion>;
/** A fine-tuning whose learning rate is filled in. */
export type WholeStableDiffusionTask = Omit<StableDiffusionTask, 'learningRate'> & {
  readonly learningRate: LearningRateConfig;
};
export type LoraConfig = z.infer<typeof lora>;
