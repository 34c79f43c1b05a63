import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { InvalidFileError, type Module } from '@mezzotint/core';
import { samplerFromDiffusers } from '@mezzotint/schedulers';
import { ClipTextModel, ClipTextModelWithProjection, clipTextFromTransformers } from '@mezzotint/text-encoders';
import { UNet2DCondition, unet2dConditionFromDiffusers } from '@mezzotint/unet';
import { type Dropped, openComponent, openSingleFile, type Translation, type WeightFile } from '@mezzotint/weights';
import type { Candidate, ModelFiles, OpenContext } from '../../family.js';
import type { Part } from '../../stage.js';
import { openClipTokenizer } from '../../tokenizers.js';
import { checkSdModel, numbersOf, type SdModel } from './stage.js';

/** What a folder or a file of Stable Diffusion becomes. */
export interface OpenedSd {
  readonly model: SdModel;
  readonly parts: readonly Part[];
  readonly description: string;
  /** Tensors of one file that belong to no part. */
  readonly dropped: readonly Dropped[];
  /** Pixels of the pictures that it was trained with. */
  readonly size: { readonly height: number; readonly width: number };
  close(): void;
}

/** The classes that a part may be of. */
const CLASSES: Readonly<Record<string, readonly string[]>> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL'],
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
  { options, note }: OpenContext,
  prefix: string,
  single?: WeightFile,
): Promise<OpenedSd> {
  const { files, index } = candidate;
  const components = partsOf(candidate);
  checkParts(files, components, options.ignoreParts === true, note);
  const unetJson = await files.json('unet/config.json');
  const unet = new UNet2DCondition(unet2dConditionFromDiffusers(unetJson));
  const vae = new AutoencoderKL(autoencoderKLFromDiffusers(await files.json('vae/config.json')));
  const text = async (part: string) => clipTextFromTransformers(await files.json(`${part}/config.json`));
  const first = components.has('text_encoder') ? new ClipTextModel(await text('text_encoder')) : undefined;
  const second = components.has('text_encoder_2')
    ? new ClipTextModelWithProjection(
        (await text('text_encoder_2')) as ConstructorParameters<typeof ClipTextModelWithProjection>[0],
      )
    : undefined;
  const texts = {
    ...(first && { first: { encoder: first, tokenizer: await openClipTokenizer(files, 'tokenizer') } }),
    ...(second && { second: { encoder: second, tokenizer: await openClipTokenizer(files, 'tokenizer_2') } }),
    // diffusers' pipelines of SDXL have it true when the file does not say it.
    forceZerosForEmptyPrompt: (index?.force_zeros_for_empty_prompt as boolean | undefined) ?? true,
    numbers: numbersOf(unet, second?.text_projection.weight.shape[0] ?? 0),
  };
  checkSdModel(files.name, { unet, vae, texts });
  const model = { unet, vae, texts, sampler: samplerFromDiffusers(await schedulerOf(candidate, components)), prefix };
  const modules: [string, Module][] = [
    ['unet', unet],
    ['vae', vae],
    ...(first ? [['text_encoder', first] as [string, Module]] : []),
    ...(second ? [['text_encoder_2', second] as [string, Module]] : []),
  ];
  const { parts, dropped, close } = await openParts(files, modules, { single, variant: options.variant, note, prefix });
  return {
    model,
    parts,
    dropped,
    close,
    size: nativeSize(unetJson, vae.downscale),
    description: String(index?._class_name),
  };
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
async function openParts(
  files: ModelFiles,
  modules: readonly (readonly [string, Module])[],
  {
    single,
    variant,
    note,
    prefix,
  }: { single: WeightFile | undefined; variant: string | undefined; note: (line: string) => void; prefix: string },
): Promise<Pick<OpenedSd, 'parts' | 'dropped' | 'close'>> {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const sources = new Map<string, Translation>();
    let dropped: readonly Dropped[] = [];
    if (single !== undefined) {
      const opened = openSingleFile(single);
      dropped = opened.dropped;
      for (const [part, { weights }] of opened.components) sources.set(part, weights);
      const strange = [...sources.keys()].filter((part) => !modules.some(([name]) => name === part));
      if (strange.length > 0)
        throw new InvalidFileError(single.name, `holds ${strange.join(', ')}, which ${files.name} has not`);
    }
    for (const [name] of modules) {
      if (sources.has(name)) continue;
      const file = await weightsOf(files, name, variant, note);
      open.push(file);
      sources.set(name, openComponent(file).weights);
    }
    const parts = modules.map(
      ([name, module]): Part => ({ ...partNamed(name, module, sources.get(name)!), name: `${prefix}${name}` }),
    );
    return { parts, dropped, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A part with the name that LoRA files have for it. */
export function partNamed(name: string, module: Module, weights: Translation): Part {
  const lora = ({ unet: 'denoiser', text_encoder: 'text_encoder', text_encoder_2: 'text_encoder_2' } as const)[name];
  return { name, module, weights, ...(lora && { lora }) };
}

/** The weights of a part: of the variant, or, where that part has none, the plain ones, as diffusers does. */
async function weightsOf(
  files: ModelFiles,
  part: string,
  variant: string | undefined,
  note: (line: string) => void,
): Promise<WeightFile> {
  if (variant === undefined) return files.weights(part);
  try {
    return await files.weights(part, { variant });
  } catch (error) {
    const plain = await files.weights(part).catch(() => undefined);
    if (plain === undefined) throw error;
    note(`${part} has no weights of the variant ${variant}: the plain ones are taken`);
    return plain;
  }
}

/**
 * The scheduler's settings as the pipeline of Stable Diffusion 1 and 2 takes them: it corrects those that old folders have
 * wrong, whatever they say. SDXL's does not. The class is that of model_index.json.
 */
async function schedulerOf({ files, index }: Candidate, components: ReadonlyMap<string, string>): Promise<unknown> {
  const json = await files.json('scheduler/scheduler_config.json');
  if (typeof json !== 'object' || json === null) return json;
  const settings = { ...json, _class_name: components.get('scheduler') };
  if (components.has('text_encoder_2')) return settings;
  const own =
    index?._class_name === 'StableDiffusionInpaintPipeline' ? { skip_prk_steps: true } : { clip_sample: false };
  return { ...settings, steps_offset: 1, ...own };
}

/** Pixels of a picture; diffusers' classes say 64 latent pixels where the file says nothing. */
function nativeSize(unet: unknown, factor: number): { readonly height: number; readonly width: number } {
  const size = (unet as { sample_size?: unknown }).sample_size ?? 64;
  const [height, width] = Array.isArray(size) ? (size as number[]) : [size as number, size as number];
  return { height: height! * factor, width: width! * factor };
}
