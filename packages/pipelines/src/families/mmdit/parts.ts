import { AutoencoderKL, autoencoderKLFromDiffusers, autoencoderKLFromShapes } from '@mezzotint/autoencoders';
import { type HostTensor, InvalidFileError, type Module, type StoredTensor, type WeightSource } from '@mezzotint/core';
import {
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromShapes,
  clipTextFromTransformers,
  T5EncoderModel,
  type Tokenizer,
  t5FromShapes,
  t5FromTransformers,
  t5Tokenizer,
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
import { ofVariant } from '../../variant.js';
import { keepingOf, storageOf } from './storage.js';

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

/** Names of files that people have T5-XXL in, best first. */
export const T5_FILES: readonly string[] = [
  't5xxl_fp16.safetensors',
  ...['t5xxl_fp8_e4m3fn_scaled.safetensors', 't5xxl_fp8_e4m3fn.safetensors'],
  ...['f16', 'Q8_0', 'Q6_K', 'Q5_K_M', 'Q5_K_S', 'Q4_K_M', 'Q4_K_S', 'Q3_K_L', 'Q3_K_M', 'Q3_K_S'].map(
    (type) => `t5-v1_1-xxl-encoder-${type}.gguf`,
  ),
  't5xxl.safetensors',
];

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
  /** How the model is stored, what it holds and what is missing, in a line. */
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
  /** The file of weights. */
  readonly file: WeightFile;
  /** Whether it is a file of the part's own beside the model, under a name that people have it by. */
  readonly isLoose: boolean;
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
    const held: string[] = [];
    const elsewhere: string[] = [];
    const missing: string[] = [];
    const places = [candidate.files, ...(beside ? [beside] : [])];
    for (const part of plan.parts) {
      const found =
        projected(part, await inFile(candidate, part, beside)) ??
        projected(part, beside && (await inLooseFile(beside, part, open))) ??
        (await firstOf(places, (files) => inFolder(files, part, options.variant, note, open)));
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
      (found.files === candidate.files ? held : elsewhere).push(part.name);
      if (found.isLoose) note(`${found.file.name}: ${part.about}, ${storageOf(found.file, found.component.layout)}`);
      // A file of several parts says only for all of them together what it holds quantised in several tensors.
      const counted = found.isLoose || part.kind === 'transformer' ? found.file : {};
      const keeping = keepingOf(weights, counted, module, options.weights);
      if (keeping !== undefined) note(`${part.name}: ${keeping}`);
    }
    const [first] = candidate.single?.components.values() ?? [];
    const origin = [
      ...(candidate.source && first ? [storageOf(candidate.source, first.layout)] : []),
      `holds ${held.join(', ') || 'none of its parts'}`,
      ...(elsewhere.length > 0 ? [`${elsewhere.join(', ')} from ${beside!.name}`] : []),
    ];
    if (missing.length > 0) {
      const advice = beside
        ? `${beside.name} has none of them either: it may be a folder of diffusers, or hold files such as ${plan.parts.flatMap(({ files }) => files.slice(0, 1)).join(', ')}`
        : 'give a folder that has them with the option parts';
      throw new InvalidFileError(
        candidate.files.name,
        `${origin.join('; ')}; missing: ${missing.join(', ')}; ${advice}`,
      );
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
      origin: [...origin, ...absent].join('; '),
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

/**
 * CLIP-L of Stable Diffusion 3 with a projection: files of the original layout (`clip_l.safetensors`, `text_encoders.clip_l`)
 * have none, and the reference's starts, and stays, as the identity.
 */
function projected({ name, kind }: PartPlan, found: Found | undefined): Found | undefined {
  if (found === undefined || kind !== 'clip-projected' || name !== 'text_encoder') return found;
  return { ...found, weights: withIdentityProjection(found.weights) };
}

/** A CLIP text tower with `text_projection.weight`, the identity where it has none. */
export function withIdentityProjection(source: WeightSource): WeightSource {
  const name = 'text_projection.weight';
  const [, table] = [...source.tensors].find(([key]) => key.endsWith('token_embedding.weight')) ?? [];
  if (source.tensors.has(name) || table === undefined) return source;
  const width = table.shape[1]!;
  const shape = [width, width];
  const identity = (): HostTensor => ({
    shape,
    data: Float32Array.from({ length: width ** 2 }, (_, i) => (i % (width + 1) === 0 ? 1 : 0)),
  });
  return {
    name: source.name,
    tensors: new Map([...source.tensors, [name, { shape, dtype: 'F32' }]]),
    read: (key) => (key === name ? identity() : source.read(key)),
    ...(source.take && {
      take: (key, keep) =>
        key === name ? ({ ...identity(), dtype: 'float32' } as StoredTensor) : source.take!(key, keep),
    }),
  };
}

/** A part in the one file that was opened; a folder of diffusers beside it says how it is configured. */
async function inFile(
  { files, single, source }: Candidate,
  plan: PartPlan,
  beside: ModelFiles | undefined,
): Promise<Found | undefined> {
  const component = single?.components.get(plan.component ?? plan.name);
  return component && { ...foundIn(files, source!, component), config: await configIn(beside, plan) };
}

/** How a folder of diffusers configures a part, whichever file its weights are in; null where it does not say. */
async function configIn(files: ModelFiles | undefined, { name }: PartPlan): Promise<unknown> {
  const path = `${name}/config.json`;
  return files?.kind === 'folder' && files.has(path) ? files.json(path) : null;
}

function foundIn(files: ModelFiles, file: WeightFile, component: Component): Found {
  return { files, file, weights: component.weights, component, config: null, className: undefined, isLoose: false };
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
    ...foundIn(files, file, component),
    config: await files.json(`${name}/config.json`),
    className: Array.isArray(entry) ? (entry[1] as string) : undefined,
  };
}

/** A part in a file of its own, by the names that people have it under. */
async function inLooseFile(files: ModelFiles, plan: PartPlan, open: { close(): void }[]): Promise<Found | undefined> {
  if (files.kind !== 'folder') return undefined;
  const name = plan.files.find((file) => files.has(file));
  if (name === undefined) return undefined;
  const file = await files.weights(name);
  open.push(file);
  const [component] = openSingleFile(file).components.values();
  return component && { ...foundIn(files, file, component), config: await configIn(files, plan), isLoose: true };
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
  { files, file }: Found,
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
    const { name, metadata, lists } = file;
    if (lists?.has('tokenizer.ggml.tokens')) return t5Tokenizer({ gguf: { name, metadata, lists } });
    throw new InvalidFileError(
      files.name,
      `T5 needs its vocabulary, which ${name} has not: a folder ${folder} with tokenizer.json or spiece.model, in the model's folder or in the one that parts names`,
    );
  }
  for (const place of around) {
    if (place.has(`${folder}/vocab.json`) || place.has(`${folder}/tokenizer.json`))
      return openClipTokenizer(place, folder!);
  }
  const make = await clipTokenizersFor(null, undefined);
  return make(name === 'text_encoder_2' ? { pad: '!' } : {});
}
