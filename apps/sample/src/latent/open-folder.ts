import { join } from 'node:path';
import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { InvalidFileError, type Module } from '@mezzotint/core';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromTransformers,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { type Dropped, type FitOptions, openComponent, openSingleFile, type Translation } from '@mezzotint/weights';
import { type PipelineFolder, readJson, readPipelineFolder, readWeights } from '@mezzotint/weights/node';
import type { PictureSize } from './condition.js';
import { latentModel } from './latent-model.js';
import { openTokenizer } from './open-tokenizer.js';
import type { Part, PartName, UnloadedModel } from './unloaded.js';

/** How a folder is opened. */
export interface FolderOptions extends FitOptions {
  /** The part of the weight files' names that hubs put in, such as `fp16`. */
  readonly variant?: string | undefined;
  /** One file with the weights, in any layout; parts that it does not hold come from the folder. */
  readonly file?: string | undefined;
}

/**
 * Opens a folder of diffusers with Stable Diffusion 1, 2, XL or XL's refiner.
 *
 * @throws InvalidFileError or InvalidArgumentError when it is another model, or a part is missing
 */
export async function openFolder(path: string, options: FolderOptions = {}): Promise<UnloadedModel> {
  const folder = readPipelineFolder(path);
  checkParts(folder);
  const json = (part: string, file: string) => readJson(join(folder.folderOf(part), file));
  const { components } = folder;
  const unetJson = json('unet', 'config.json');
  const unet = new UNet2DCondition(unet2dConditionFromDiffusers(unetJson));
  const vae = new AutoencoderKL(autoencoderKLFromDiffusers(json('vae', 'config.json')));
  const first = components.has('text_encoder') ? textEncoder(folder, 'text_encoder') : undefined;
  const second = components.has('text_encoder_2') ? textEncoder(folder, 'text_encoder_2') : undefined;
  const text = (encoder: ReturnType<typeof textEncoder>, tokenizer: string) => ({
    encoder,
    tokenizer: openTokenizer(folder.folderOf(tokenizer)),
  });
  const model = latentModel(
    {
      unet,
      vae,
      sampler: samplerFromDiffusers(schedulerOf(folder)),
      ...(first && { first: text(first, 'tokenizer') }),
      ...(second && {
        second: text(second, 'tokenizer_2') as { encoder: ClipTextModelWithProjection; tokenizer: Tokenizer },
      }),
      nativeSize: nativeSize(unetJson, vae.downscale),
      forceZerosForEmptyPrompt: settingOf(path, 'force_zeros_for_empty_prompt'),
    },
    path,
  );
  const modules: (readonly [PartName, Module])[] = [
    ['unet', unet],
    ['vae', vae],
    ...(first ? [['text_encoder', first] as const] : []),
    ...(second ? [['text_encoder_2', second] as const] : []),
  ];
  const { parts, dropped, close } = await openParts(folder, modules, options);
  return { model, parts, taken: null, dropped, close };
}

const known: Readonly<Record<string, readonly string[]>> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL'],
  text_encoder: ['CLIPTextModel'],
  text_encoder_2: ['CLIPTextModelWithProjection'],
};

function checkParts({ path, components, className }: PipelineFolder): void {
  const problems = ['unet', 'vae', 'scheduler']
    .filter((part) => !components.has(part))
    .map((part) => `${part}: missing`);
  for (const [part, classes] of Object.entries(known)) {
    const found = components.get(part);
    if (found !== undefined && !classes.includes(found))
      problems.push(`${part}: expected ${classes.join(' or ')}, got ${found}`);
  }
  if (!components.has('text_encoder') && !components.has('text_encoder_2')) problems.push('no text encoder');
  if (problems.length > 0) {
    throw new InvalidFileError(
      path,
      `${className} is not Stable Diffusion 1, 2 or XL, the models that we can sample from: ${problems.join('; ')}`,
    );
  }
}

function textEncoder(folder: PipelineFolder, part: 'text_encoder' | 'text_encoder_2') {
  const config = clipTextFromTransformers(readJson(join(folder.folderOf(part), 'config.json')));
  return part === 'text_encoder' ? new ClipTextModel(config) : new ClipTextModelWithProjection(config);
}

/** Opens the files of the parts; all are closed again when one is not what it should be. */
async function openParts(
  folder: PipelineFolder,
  modules: readonly (readonly [PartName, Module])[],
  { variant, file: single, report }: FolderOptions,
): Promise<Pick<UnloadedModel, 'parts' | 'dropped' | 'close'>> {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const sources: Record<string, Translation> = {};
    let dropped: readonly Dropped[] = [];
    if (single !== undefined) {
      const file = await readWeights(single);
      open.push(file);
      const opened = openSingleFile(file, { report });
      dropped = opened.dropped;
      for (const [part, { weights }] of opened.components) sources[part] = weights;
      const strange = Object.keys(sources).filter((part) => !modules.some(([name]) => name === part));
      if (strange.length > 0)
        throw new InvalidFileError(single, `holds ${strange.join(', ')}, which ${folder.path} has not`);
    }
    const parts: Part[] = [];
    for (const [name, module] of modules) {
      if (!(name in sources)) {
        const file = await readWeights(folder.folderOf(name), variant === undefined ? {} : { variant });
        open.push(file);
        const told = report && ((problem: string) => report(`${name}: ${problem}`));
        sources[name] = openComponent(file, { report: told }).weights;
      }
      parts.push({ name, module, weights: sources[name]! });
    }
    return { parts, dropped, close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * The scheduler's settings as the pipeline of Stable Diffusion 1 and 2 takes them: it corrects those that old folders have
 * wrong, whatever they say. SDXL's does not.
 */
function schedulerOf({ json, className, components }: PipelineFolder): unknown {
  const settings = json('scheduler/scheduler_config.json');
  if (components.has('text_encoder_2') || typeof settings !== 'object') return settings;
  const own = className === 'StableDiffusionInpaintPipeline' ? { skip_prk_steps: true } : { clip_sample: false };
  return { ...settings, steps_offset: 1, ...own };
}

/** Pixels of a picture; diffusers' classes say 64 latent pixels where the file says nothing. */
function nativeSize(unet: unknown, factor: number): PictureSize {
  const size = (unet as { sample_size?: unknown }).sample_size ?? 64;
  const [height, width] = Array.isArray(size) ? (size as number[]) : [size as number, size as number];
  return { height: height! * factor, width: width! * factor };
}

function settingOf(path: string, key: string): boolean {
  const index = readJson(join(path, 'model_index.json')) as Readonly<Record<string, unknown>>;
  return index[key] === true;
}
