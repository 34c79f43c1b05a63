import { InvalidArgumentError } from '@mezzotint/core';
import { z } from 'zod';
import type { SettingMeta } from './request.js';

const setting = <S extends z.ZodType>(schema: S, group: SettingMeta['group'], value: string, about: string): S =>
  schema.describe(about).meta({ group, value }) as S;

/** What networks predict, for files that do not say it. */
export const predictions = ['epsilon', 'v'] as const;
export type Prediction = (typeof predictions)[number];

/** How weights may be kept in memory: the names of backend-onnxruntime's `loadQuantized`. */
export const weightFormats = ['stored', 'float16', 'bfloat16', 'int8', 'int4'] as const;
export type WeightFormat = (typeof weightFormats)[number];

/** A LoRA file and how strongly it counts. */
const loraSchema = z.strictObject({ path: z.string(), scale: z.number().default(1) });
/** A textual inversion and what stands for it in prompts; its own name when left out. */
const inversionSchema = z.strictObject({ path: z.string(), token: z.string().min(1).optional() });

/** How a model is opened; like the request, the one place that flags, configuration files and recipes come from. */
export const openSchema = z
  .strictObject({
    parts: setting(
      z.string(),
      'model',
      'folder',
      'for a model in one file: folder of diffusers with the parts that it lacks, and whose settings count',
    ),
    tokenizer: setting(
      z.string(),
      'model',
      'path',
      "for a model in one file: folder or tokenizer.json with its vocabulary (default: beside it, else CLIP's)",
    ),
    prediction: setting(
      z.enum(predictions),
      'model',
      'kind',
      'for a model in one file: what it predicts, epsilon or v (default: as the file looks)',
    ),
    variant: setting(
      z.string().regex(/^[\w-]+$/),
      'model',
      'name',
      "the part of the weight files' names that hubs put in, such as fp16",
    ),
    refiner: setting(z.string(), 'model', 'path', 'the model that finishes the picture (SDXL), a folder or one file'),
    guidingModel: setting(
      z.string(),
      'model',
      'path',
      'a smaller or less trained model that guides this one: autoguidance (EDM, EDM2, models of train)',
    ),
    upsampler: setting(
      z.union([z.string(), z.array(z.string()).min(1).max(8)]),
      'model',
      'path',
      'a model that enlarges the pictures (ADM, models of train, DeepFloyd IF); may be given again for one stage more',
    ),
    classifier: setting(
      z.string(),
      'model',
      'path',
      'a classifier of noisy images that guides by its gradient (ADM, models of train), a folder or one file',
    ),
    network: setting(
      z.record(z.string(), z.union([z.number(), z.boolean(), z.string()])),
      'model',
      'name=value',
      'for a model in one file: settings of the network that the file does not say, such as heads=4',
    ),
    betas: setting(
      z.enum(['linear', 'scaled-linear', 'cosine']),
      'model',
      'name',
      "noise schedule; for guided-diffusion's files linear or cosine (default: as published, linear for files of others), for U-ViT's of latent images linear or scaled-linear (default: as published)",
    ),
    taesd: setting(
      z.string(),
      'model',
      'path',
      'tiny autoencoder of these latent images for previews (TAESD, TAESD3, TAEF1), a folder of diffusers or one file of its layout',
    ),
    lora: setting(z.array(loraSchema), 'model', 'file[:scale]', 'merge a LoRA; may be given again'),
    textualInversion: setting(
      z.array(inversionSchema),
      'model',
      'file[:token]',
      'add a textual inversion, whose token prompts may use; may be given again',
    ),
    weights: setting(
      z.enum(weightFormats),
      'speed',
      'format',
      'keep weights in fewer bits, or as the file stores them (engine onnxruntime; default: float32)',
    ),
    freeText: setting(
      z.boolean(),
      'speed',
      '',
      'free each model as soon as its work is done: less memory, loaded again when needed',
    ),
    ignoreParts: setting(z.boolean(), 'model', '', 'open a folder without the parts that we do not build'),
    strict: setting(z.boolean(), 'model', '', 'refuse tensors that no part needs, instead of naming them'),
  })
  .partial();

/** How a model is opened. */
export type OpenOptions = z.input<typeof openSchema>;

/** Throws an InvalidArgumentError that lists every option that is unknown or wrong. */
export function checkOptions(options: OpenOptions): OpenOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const parsed = openSchema.safeParse(given);
  if (parsed.success) return parsed.data as OpenOptions;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
  throw new InvalidArgumentError('openPipeline', problems);
}
