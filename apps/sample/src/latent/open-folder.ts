import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError, type Module, type WeightSource } from '@mezzotint/core';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import {
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromTransformers,
  clipTokenizer,
  type Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { type LoraTarget, mergeLora, openComponent, openSingleFile } from '@mezzotint/weights';
import { type PipelineFolder, readPipelineFolder, readWeights } from '@mezzotint/weights/node';
import type { PictureSize } from './condition.js';
import { type LatentModel, latentModel } from './latent-model.js';
import { silent, type Tell } from './stages.js';

/** A LoRA file and how strongly it counts. */
export interface LoraFile {
  readonly path: string;
  readonly scale: number;
}

/** How a folder is opened. */
export interface OpenOptions {
  /** The part of the weight files' names that hubs put in, such as `fp16`. */
  readonly variant?: string | undefined;
  readonly loras?: readonly LoraFile[];
  /** One file with the weights, in any layout; parts that it does not hold come from the folder. */
  readonly file?: string | undefined;
  /** Told of each tensor that is read. */
  readonly tell?: Tell;
}

/** Whether a path is a model that takes prompts: a folder of diffusers, or one file of weights. */
export function takesPrompts(path: string): boolean {
  return existsSync(join(path, 'model_index.json')) || statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** Longest JSON or text file of a folder that is read. */
const MAX_TEXT_BYTES = 2 ** 26;

/**
 * Opens a folder of diffusers with Stable Diffusion 1, 2, XL or XL's refiner.
 *
 * @throws InvalidFileError, InvalidArgumentError or WeightsMismatchError when it is another model, or a part is missing
 *   or does not fit
 */
export async function openPipelineFolder(path: string, options: OpenOptions = {}): Promise<LatentModel> {
  const folder = readPipelineFolder(path);
  if (folder === undefined) throw new InvalidFileError(path, 'has no model_index.json');
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
      sampler: samplerFromDiffusers(json('scheduler', 'scheduler_config.json')),
      ...(first && { first: text(first, 'tokenizer') }),
      ...(second && {
        second: text(second, 'tokenizer_2') as { encoder: ClipTextModelWithProjection; tokenizer: Tokenizer },
      }),
      nativeSize: nativeSize(unetJson, vae.downscale),
      zerosForNothing: settingOf(path, 'force_zeros_for_empty_prompt'),
    },
    path,
  );
  const modules: (readonly [string, Module])[] = [
    ['unet', unet],
    ['vae', vae],
    ...(first ? [['text_encoder', first] as const] : []),
    ...(second ? [['text_encoder_2', second] as const] : []),
  ];
  await loadAll(folder, modules, options);
  return model;
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

function openTokenizer(folder: string): Tokenizer {
  const settings = join(folder, 'tokenizer_config.json');
  const special = join(folder, 'special_tokens_map.json');
  const json = {
    ...(existsSync(special) ? (readJson(special) as object) : {}),
    ...(existsSync(settings) ? (readJson(settings) as object) : {}),
  };
  const vocab = join(folder, 'vocab.json');
  const files = existsSync(vocab)
    ? { vocab: readJson(vocab), merges: readText(join(folder, 'merges.txt')) }
    : { tokenizerJson: readJson(join(folder, 'tokenizer.json')) };
  return clipTokenizer(files, tokenizerOptionsFromTransformers(json));
}

/** What LoRA files call the parts. */
const loraNames: Readonly<Record<string, LoraTarget>> = {
  unet: 'denoiser',
  text_encoder: 'text_encoder',
  text_encoder_2: 'text_encoder_2',
};

async function loadAll(
  folder: PipelineFolder,
  modules: readonly (readonly [string, Module])[],
  { variant, loras = [], file: single, tell = silent }: OpenOptions,
): Promise<void> {
  const open: { close(): void }[] = [];
  try {
    const sources: Record<string, WeightSource> = {};
    if (single !== undefined) {
      const file = await readWeights(single);
      open.push(file);
      for (const [part, { weights }] of openSingleFile(file).components) sources[part] = weights;
      const strange = Object.keys(sources).filter((part) => !modules.some(([name]) => name === part));
      if (strange.length > 0)
        throw new InvalidFileError(single, `holds ${strange.join(', ')}, which ${folder.path} has not`);
    }
    for (const [part] of modules) {
      if (part in sources) continue;
      const file = await readWeights(folder.folderOf(part), variant === undefined ? {} : { variant });
      open.push(file);
      sources[part] = openComponent(file).weights;
    }
    for (const { path, scale } of loras) {
      const lora = await readWeights(path);
      open.push(lora);
      const targets = Object.entries(loraNames).filter(([part]) => part in sources);
      const models = Object.fromEntries(targets.map(([part, target]) => [target, sources[part]!]));
      const merged: Readonly<Record<string, WeightSource>> = await mergeLora(models, lora, { scale });
      for (const [part, target] of targets) sources[part] = merged[target]!;
    }
    const total = modules.reduce((sum, [part]) => sum + sources[part]!.tensors.size, 0);
    let read = 0;
    const telling = (source: WeightSource) => watched(source, () => tell('Loading', ++read, total));
    for (const [part, module] of modules) await module.load(telling(sources[part]!));
  } catch (error) {
    for (const [, module] of modules) module.dispose();
    throw error;
  } finally {
    for (const file of open) file.close();
  }
}

/** A source that says when a tensor of it is read. */
function watched(source: WeightSource, onRead: () => void): WeightSource {
  return {
    name: source.name,
    tensors: source.tensors,
    read: (name) => {
      onRead();
      return source.read(name);
    },
  };
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

function readText(path: string): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw new InvalidArgumentError(path, 'no such file');
  if (size > MAX_TEXT_BYTES) throw new InvalidFileError(path, `expected at most ${MAX_TEXT_BYTES} bytes, got ${size}`);
  return readFileSync(path, 'utf8');
}

/** Strings, and the words that Python's json writes for numbers that are not finite (DPM-Solver's lambda_min_clipped). */
const NUMBERS_OF_PYTHON = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;

function readJson(path: string): unknown {
  const text = readText(path);
  try {
    return JSON.parse(text.replaceAll(NUMBERS_OF_PYTHON, (token) => (token.startsWith('"') ? token : 'null')));
  } catch (cause) {
    throw new InvalidFileError(path, 'is not JSON', { cause });
  }
}
