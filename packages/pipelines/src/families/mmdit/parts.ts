import { AutoencoderKL, autoencoderKLFromDiffusers, autoencoderKLFromShapes } from '@mezzotint/autoencoders';
import { InvalidFileError, type Module, type WeightSource } from '@mezzotint/core';
import {
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromShapes,
  clipTextFromTransformers,
  T5EncoderModel,
  type Tokenizer,
  t5FromShapes,
  t5FromTransformers,
} from '@mezzotint/text-encoders';
import {
  type Component,
  type ComponentName,
  type LoraModelName,
  openComponent,
  openSingleFile,
  type WeightFile,
  withShapesOf,
} from '@mezzotint/weights';
import type { Candidate, ModelFiles, OpenContext } from '../../family.js';
import type { Part } from '../../stage.js';
import { clipTokenizersFor, openClipTokenizer, openT5Tokenizer } from '../../tokenizers.js';

/** What a part of a pipeline is: `clip-projected` for CLIP with its projection. */
export type PartKind = 'transformer' | 'vae' | 'clip' | 'clip-projected' | 't5';

/** A part that a family has. */
export interface PartPlan {
  /** Its folder in diffusers' pipelines. */
  readonly name: 'transformer' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';
  readonly kind: PartKind;
  /** What it is, for people. */
  readonly about: string;
  readonly optional?: boolean;
  /** The folder of its tokenizer. */
  readonly tokenizer?: string;
  /** What LoRA files call it. */
  readonly lora?: LoraModelName;
  /** What single files hold it as, where that differs from its name. */
  readonly component?: ComponentName;
  /** Names of files that people have it in, best first. */
  readonly files: readonly string[];
}

/** What a family says of itself. */
export interface MmditPlan {
  readonly parts: readonly PartPlan[];
  /** Pipelines of diffusers that it opens. */
  readonly pipelines: readonly string[];
  /** The class of the transformer in folders of diffusers. */
  readonly transformerClass: string;
  /** The transformer of a config.json, or of names and shapes. */
  readonly transformer: (given: { readonly config: unknown } | { readonly tensors: WeightSource['tensors'] }) => Module;
  /** How the published autoencoder's latents are scaled. */
  readonly latents: { readonly scalingFactor: number; readonly shiftFactor: number };
}

/** A part that was opened: its module without weights, where they are, and its tokenizer. */
export interface OpenedPart {
  readonly plan: PartPlan;
  readonly module: Module;
  readonly part: Part;
  readonly tokenizer: Tokenizer | undefined;
}

/** A model that was opened. */
export interface OpenedMmdit {
  readonly opened: ReadonlyMap<PartPlan['name'], OpenedPart>;
  readonly parts: readonly Part[];
  /** scheduler_config.json, where there is one. */
  readonly scheduler: unknown;
  /** Where each part is from, in a line. */
  readonly origin: string;
  close(): void;
}

/** Where a part's weights were found, and how it is configured. */
interface Found {
  readonly files: ModelFiles;
  /** Names and shapes at home. */
  readonly weights: WeightSource;
  readonly component: Pick<Component, 'layout'>;
  /** config.json; null where it follows from names and shapes. */
  readonly config: unknown;
  /** Its class in model_index.json. */
  readonly className: string | undefined;
  /** Its folder among `files`; undefined in one file. */
  readonly folder: string | undefined;
}

/**
 * Opens the parts of a model from a folder of diffusers, from one file, or from one file and what the option `parts` adds:
 * a folder of diffusers, or one with the files that people have (`ae.safetensors`, `t5xxl_fp16.safetensors`).
 *
 * @throws InvalidFileError naming every part that is missing, and where it was looked for
 */
export async function openParts(
  candidate: Candidate,
  { options, files: filesAt, note }: OpenContext,
  plan: MmditPlan,
): Promise<OpenedMmdit> {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const beside = options.parts === undefined ? undefined : filesAt(options.parts);
    const opened = new Map<PartPlan['name'], OpenedPart>();
    const missing: string[] = [];
    const origins: string[] = [];
    const places = [candidate.files, ...(beside ? [beside] : [])];
    for (const part of plan.parts) {
      const found =
        (await inFile(candidate, part, beside)) ??
        (await firstOf(places, (files) => inFolder(files, part, options.variant, note, open))) ??
        (beside && (await inLooseFile(beside, part, open)));
      if (found === undefined) {
        if (!part.optional) missing.push(`${part.name} (${part.about})`);
        continue;
      }
      const module = build(plan, part, found);
      const weights = withShapesOf(module, found.weights);
      const tokenizer =
        part.tokenizer === undefined ? undefined : await tokenizerOf(part, found, places, options.tokenizer, filesAt);
      opened.set(part.name, {
        plan: part,
        module,
        tokenizer,
        part: { name: part.name, module, weights, ...(part.lora && { lora: part.lora }) },
      });
      origins.push(`${part.name} of ${found.weights.name}`);
    }
    if (missing.length > 0) {
      const held = [...opened.keys()].join(', ') || 'none of its parts';
      const advice = beside
        ? `${beside.name} has none of them either: it may be a folder of diffusers, or hold files such as ${plan.parts.flatMap(({ files }) => files.slice(0, 1)).join(', ')}`
        : 'give a folder that has them with the option parts';
      throw new InvalidFileError(candidate.files.name, `holds ${held}; missing: ${missing.join(', ')}; ${advice}`);
    }
    const absent = plan.parts.filter(({ name }) => !opened.has(name)).map(({ about }) => `no ${about}`);
    const scheduler = await firstOf(places, async (files) =>
      files.kind === 'folder' && files.has('scheduler/scheduler_config.json')
        ? files.json('scheduler/scheduler_config.json')
        : undefined,
    );
    return {
      opened,
      parts: [...opened.values()].map(({ part }) => part),
      scheduler,
      origin: [
        storageOf(candidate),
        ...(origins.length > 1 || beside ? [`holds ${[...opened.keys()].join(', ')}`] : []),
        ...absent,
      ]
        .filter(Boolean)
        .join('; '),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function firstOf<A, B>(list: readonly A[], find: (item: A) => Promise<B | undefined>): Promise<B | undefined> {
  for (const item of list) {
    const found = await find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A part in the one file that was opened; a folder of diffusers beside it says how it is configured. */
async function inFile(
  { files, single }: Candidate,
  plan: PartPlan,
  beside: ModelFiles | undefined,
): Promise<Found | undefined> {
  const component = single?.components.get(plan.component ?? plan.name);
  const path = `${plan.name}/config.json`;
  const config = beside?.kind === 'folder' && beside.has(path) ? await beside.json(path) : null;
  return component && { ...foundIn(files, component), config };
}

function foundIn(files: ModelFiles, component: Component): Found {
  return { files, weights: component.weights, component, config: null, className: undefined, folder: undefined };
}

/** A part in its own folder of a folder of diffusers. */
async function inFolder(
  files: ModelFiles,
  { name }: PartPlan,
  variant: string | undefined,
  note: (line: string) => void,
  open: { close(): void }[],
): Promise<Found | undefined> {
  if (files.kind !== 'folder' || !files.has(`${name}/config.json`)) return undefined;
  const index = files.has('model_index.json')
    ? ((await files.json('model_index.json')) as Record<string, unknown>)
    : {};
  const entry = index[name];
  if (Array.isArray(entry) && entry[1] === null) return undefined; // Switched off.
  const file = await ofVariant(files, name, variant, note);
  open.push(file);
  const component = openComponent(file);
  return {
    files,
    weights: component.weights,
    component,
    config: await files.json(`${name}/config.json`),
    className: Array.isArray(entry) ? (entry[1] as string) : undefined,
    folder: name,
  };
}

/** Weights of the variant, or the plain ones where a part has none. */
async function ofVariant(
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

/** A part in a file of its own, by the names that people have it under. */
async function inLooseFile(files: ModelFiles, plan: PartPlan, open: { close(): void }[]): Promise<Found | undefined> {
  if (files.kind !== 'folder') return undefined;
  const name = plan.files.find((file) => files.has(file));
  if (name === undefined) return undefined;
  const file = await files.weights(name);
  open.push(file);
  const [component] = openSingleFile(file).components.values();
  return component && foundIn(files, component);
}

function build(plan: MmditPlan, { kind, name }: PartPlan, { weights, component, config, className }: Found): Module {
  const { tensors } = weights;
  switch (kind) {
    case 'transformer':
      return plan.transformer(config === null ? { tensors } : { config });
    case 'vae':
      return new AutoencoderKL(
        config === null ? autoencoderKLFromShapes(tensors, plan.latents) : autoencoderKLFromDiffusers(config),
      );
    case 't5':
      return new T5EncoderModel(config === null ? t5FromShapes(tensors) : t5FromTransformers(config));
    default: {
      const quick = name === 'text_encoder' && component.layout !== 'openclip';
      const text =
        config === null ? clipTextFromShapes(tensors, quick ? 'quick' : 'erf') : clipTextFromTransformers(config);
      const projected =
        config === null
          ? text.projection !== null
          : className !== 'CLIPTextModel' && tensors.has('text_projection.weight');
      return projected
        ? new ClipTextModelWithProjection(text as typeof text & { projection: number })
        : new ClipTextModel({ ...text, projection: null });
    }
  }
}

/** The tokenizer of a text encoder: of its folder, of the places that were given, beside a file, or CLIP's published one. */
async function tokenizerOf(
  { kind, tokenizer: folder, name }: PartPlan,
  { files }: Found,
  places: readonly ModelFiles[],
  given: string | undefined,
  filesAt: OpenContext['files'],
): Promise<Tokenizer> {
  const around = [...places, files].flatMap((place) =>
    place.kind === 'folder' ? [place] : place.beside ? [place.beside()] : [],
  );
  if (kind === 't5') {
    const asked = given === undefined ? [] : [filesAt(given)];
    const found = await firstOf([...asked, ...around], (place) => openT5Tokenizer(place, folder!));
    if (found !== undefined) return found;
    throw new InvalidFileError(
      files.name,
      `T5 needs its vocabulary, which is in no file of weights: a folder ${folder} with tokenizer.json or spiece.model, in the model's folder or in the one that parts names`,
    );
  }
  for (const place of around) {
    if (place.has(`${folder}/vocab.json`) || place.has(`${folder}/tokenizer.json`))
      return openClipTokenizer(place, folder!);
  }
  const make = await clipTokenizersFor(null, undefined);
  return make(name === 'text_encoder_2' ? { pad: '!' } : {});
}

/** How one file stores its tensors, for people: `GGUF by ComfyUI-GGUF, Q4_0 304, F32 476`. Empty for a folder. */
function storageOf({ source }: Candidate): string {
  if (source === null) return '';
  const counts = new Map<string, number>();
  const quantized = (source as { quantized?: ReadonlyMap<string, number> }).quantized ?? new Map<string, number>();
  for (const { dtype } of source.tensors.values()) counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  for (const [kind, count] of quantized) {
    // They are shown as F32.
    counts.set('F32', (counts.get('F32') ?? 0) - count);
    counts.set(kind, count);
  }
  const isGguf =
    [...source.tensors.values()].some(({ dtype }) => /^Q\d/.test(dtype)) || source.metadata.has('general.architecture');
  const dialect = isGguf
    ? source.metadata.has('general.architecture')
      ? "GGUF in ComfyUI-GGUF's dialect, "
      : "GGUF in stable-diffusion.cpp's dialect, "
    : '';
  const listed = [...counts].filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  return dialect + listed.map(([dtype, count]) => `${count} ${dtype}`).join(', ');
}
