import {
  AutoencoderKL,
  AutoencoderTiny,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
} from '@mezzotint/autoencoders';
import { type ForeignConfigOptions, InvalidFileError, textOf } from '@mezzotint/core';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import { clipTextFromTransformers } from '@mezzotint/text-encoders';
import { unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { type Dropped, openComponent, type SingleFile, type Translation, type WeightFile } from '@mezzotint/weights';
import type { Candidate, ModelFiles, OpenContext } from '../../family.js';
import type { Part } from '../../stage.js';
import { openClipTokenizer } from '../../tokenizers.js';
import { assemble, type TextSource } from './assemble.js';
import type { SdModel } from './stage.js';

/** What a folder or a file of Stable Diffusion becomes. */
export interface OpenedSd {
  readonly model: SdModel;
  readonly parts: readonly Part[];
  readonly description: string;
  /** Tensors of one file that belong to no part. */
  readonly dropped: readonly Dropped[];
  /** Pixels of the pictures that it was trained with. */
  readonly size: { readonly height: number; readonly width: number };
  /** The most noise that an upscaler's input may be given. */
  readonly maxNoiseLevel: number;
  close(): void;
}

/** Pipelines of diffusers that correct the settings of their scheduler. */
const CORRECTED: readonly string[] = [
  'StableDiffusionPipeline',
  'StableDiffusionImg2ImgPipeline',
  'StableDiffusionInpaintPipeline',
];

/** The classes that a part may be of. */
const CLASSES: Readonly<Record<string, readonly string[]>> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL', 'AutoencoderTiny'],
  text_encoder: ['CLIPTextModel', 'CLIPTextModelWithProjection'],
  text_encoder_2: ['CLIPTextModelWithProjection'],
};

/** Parts that sampling does not need: checks and watermarks. */
const UNUSED: readonly string[] = ['safety_checker', 'feature_extractor', 'watermark'];

/** The parts of a folder by name with their classes; those that are switched off left out. */
export function partsOf({ index }: Candidate): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(index ?? {}).flatMap(([name, value]) =>
      Array.isArray(value) && typeof value[1] === 'string' ? [[name, value[1]] as const] : [],
    ),
  );
}

/**
 * Opens a folder of diffusers.
 *
 * @param single weights of one file, which come before the folder's
 * @throws InvalidFileError that lists every part that is missing, of another class, or not built
 */
export async function openSdFolder(
  candidate: Candidate,
  context: OpenContext,
  prefix: string,
  single?: SingleFile,
): Promise<OpenedSd> {
  const { files, index } = candidate;
  const { options, note } = context;
  const components = partsOf(candidate);
  checkParts(files, components, options.ignoreParts === true, note);
  const config = async <C>(part: string, read: (json: unknown, options: ForeignConfigOptions) => C) =>
    read(await files.json(`${part}/config.json`), options.strict ? {} : unknownKeys(part, note));
  const text = async (part: string, tokenizer: string): Promise<TextSource | undefined> =>
    components.has(part)
      ? {
          config: await config(part, (json) => clipTextFromTransformers(json)),
          tokenizer: (added) => openClipTokenizer(files, tokenizer, added),
        }
      : undefined;
  const tiny = components.get('vae') === 'AutoencoderTiny';
  const upscales = components.has('low_res_scheduler');
  const vae = tiny
    ? new AutoencoderTiny(await config('vae', autoencoderTinyFromDiffusers))
    : new AutoencoderKL({
        ...(await config('vae', autoencoderKLFromDiffusers)),
        // The upscaler's pipeline sets it, whatever the folder says.
        ...(upscales && { scalingFactor: 0.08333 }),
      });
  const names = Object.keys(CLASSES).filter((part) => components.has(part));
  const { sources, dropped, close } = await openSources(files, names, {
    single,
    strict: options.strict === true,
    variant: options.variant,
    note,
  });
  try {
    const scheduler = async (part: string) => samplerFromDiffusers(await schedulerOf(candidate, components, part));
    const opened = await assemble(
      {
        origin: files.name,
        prefix,
        unet: await config('unet', unet2dConditionFromDiffusers),
        vae,
        first: await text('text_encoder', 'tokenizer'),
        second: await text('text_encoder_2', 'tokenizer_2'),
        // diffusers' pipelines of SDXL have it true when the file does not say it.
        forceZerosForEmptyPrompt: (index?.force_zeros_for_empty_prompt as boolean | undefined) ?? true,
        sampler: await scheduler('scheduler'),
        lowResolution: upscales ? await scheduler('low_res_scheduler') : undefined,
        weights: (part) => sources.get(part)!,
      },
      context,
    );
    const size = nativeSize(await files.json('unet/config.json'), vae.downscale);
    return {
      ...opened,
      dropped,
      close,
      size,
      description: textOf(index?._class_name),
      maxNoiseLevel: maxNoiseLevelOf(index),
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Names the keys of a configuration that its class does not have; they are passed over, as diffusers does. */
function unknownKeys(part: string, note: (line: string) => void): ForeignConfigOptions {
  return { report: (key) => note(`${part}/config.json: ${key} is no setting of this class; left out`) };
}

/** The most noise that an upscaler's input may be given; diffusers' default where the folder does not say it. */
function maxNoiseLevelOf(index: Candidate['index']): number {
  return typeof index?.max_noise_level === 'number' ? index.max_noise_level : 350;
}

function checkParts(
  files: ModelFiles,
  components: ReadonlyMap<string, string>,
  ignore: boolean,
  note: (line: string) => void,
): void {
  const problems = ['unet', 'vae', 'scheduler']
    .filter((part) => !components.has(part))
    .map((part) => `${part}: missing`);
  const known = [...Object.keys(CLASSES), ...UNUSED, 'scheduler', 'low_res_scheduler', 'tokenizer', 'tokenizer_2'];
  for (const [part, found] of components) {
    const expected = CLASSES[part];
    if (expected !== undefined && !expected.includes(found))
      problems.push(`${part}: expected ${expected.join(' or ')}, got ${found}`);
    if (known.includes(part)) continue;
    if (ignore) note(`${part} (${found}) is left out`);
    else
      problems.push(
        `${part} (${found}) is not built, and pictures would come out as if it were not there; ignoreParts leaves it out`,
      );
  }
  if (!components.has('text_encoder') && !components.has('text_encoder_2')) problems.push('no text encoder');
  if (problems.length > 0) throw new InvalidFileError(files.name, problems.join('; '));
}

/** Opens the files of the parts; all are closed again when one is not what it should be. */
async function openSources(
  files: ModelFiles,
  names: readonly string[],
  {
    single,
    strict,
    variant,
    note,
  }: {
    single: SingleFile | undefined;
    strict: boolean;
    variant: string | undefined;
    note: (line: string) => void;
  },
): Promise<Pick<OpenedSd, 'dropped' | 'close'> & { readonly sources: ReadonlyMap<string, Translation> }> {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const sources = new Map<string, Translation>();
    let dropped: readonly Dropped[] = [];
    if (single !== undefined) {
      dropped = single.dropped;
      for (const [part, { weights }] of single.components) sources.set(part, weights);
      const strange = [...sources.keys()].filter((part) => !names.includes(part));
      if (strange.length > 0)
        throw new InvalidFileError(single.name, `holds ${strange.join(', ')}, which ${files.name} has not`);
    }
    const without: { readonly name: string; readonly missing: unknown }[] = [];
    const read = names.filter((name) => !sources.has(name));
    for (const name of read) {
      const { file, missing } = await weightsOf(files, name, variant);
      open.push(file);
      if (missing !== undefined) without.push({ name, missing });
      const report = strict ? undefined : (problem: string) => note(`${name}: ${problem}`);
      sources.set(name, openComponent(file, { report }).weights);
    }
    // A variant that no part has was misspelled.
    if (without.length > 0 && without.length === read.length) throw without[0]!.missing;
    for (const { name } of without) note(`${name} has no weights of the variant ${variant}: the plain ones are taken`);
    return { sources, dropped, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** The weights of a part: of the variant, or, where that part has none, the plain ones, as diffusers does. */
async function weightsOf(
  files: ModelFiles,
  part: string,
  variant: string | undefined,
): Promise<{ readonly file: WeightFile; readonly missing?: unknown }> {
  if (variant === undefined) return { file: await files.weights(part) };
  try {
    return { file: await files.weights(part, { variant }) };
  } catch (missing) {
    const file = await files.weights(part).catch(() => undefined);
    if (file === undefined) throw missing;
    return { file, missing };
  }
}

/**
 * The scheduler's settings as the pipeline of Stable Diffusion 1 and 2 takes them: it corrects those that old folders have
 * wrong, whatever they say. SDXL's does not. The class is that of model_index.json.
 */
async function schedulerOf(
  { files, index }: Candidate,
  components: ReadonlyMap<string, string>,
  part: string,
): Promise<unknown> {
  const json = await files.json(`${part}/scheduler_config.json`);
  if (typeof json !== 'object' || json === null) return json;
  const settings = { ...json, _class_name: components.get(part) };
  if (!CORRECTED.includes(textOf(index?._class_name))) return settings;
  const own =
    index?._class_name === 'StableDiffusionInpaintPipeline' ? { skip_prk_steps: true } : { clip_sample: false };
  return { ...settings, steps_offset: 1, ...own };
}

/**
 * Pixels of a picture; diffusers' classes say 64 latent pixels where the file says nothing, and its pipelines where a file from
 * before version 0.9.0 says less.
 */
function nativeSize(unet: unknown, factor: number): { readonly height: number; readonly width: number } {
  const { sample_size: given = 64, _diffusers_version: version } = unet as Record<string, unknown>;
  const old = /^0\.[0-8]\./.test(textOf(version)) && typeof given === 'number' && given < 64;
  const size = old ? 64 : (given ?? 64);
  const [height, width] = Array.isArray(size) ? (size as number[]) : [size as number, size as number];
  return { height: height! * factor, width: width! * factor };
}
