import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DiffusionConfig } from '@mezzotint/app';
import {
  deriveSeed,
  InvalidArgumentError,
  type Module,
  type NetworkSignature,
  type RandomStream,
} from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/data';
import { absentCaption, conditionsOf, diskFiles, openTextEncoder } from '@mezzotint/pipelines/node';
import {
  type CaptionEncoder,
  ClipTextModelWithProjection,
  captionShape,
  clip,
  clipTextToTransformers,
  clipTokenizer,
  clipTokenizerToTransformers,
  type EncodedCaptions,
  encodeTexts,
} from '@mezzotint/text-encoders';
import { dropCaptions, shuffleTags } from '@mezzotint/training';
import { readJson, writeSafetensors } from '@mezzotint/weights/node';
import { CaptionCache } from './caption-cache.js';
import type { ConditionsConfig } from './config.js';
import { type Frozen, weightsHash } from './frozen.js';
import { cutNotes, vocabularyHash, vocabularyOf } from './vocabulary.js';

/** Longest captions where a configuration does not say, in tokens: CLIP's. */
const USUAL_LENGTH = 77;

/** Files of a tokenizer, as far as there are: those that say which token stands for what, and its settings. */
const VOCABULARY_FILES = ['vocab.json', 'merges.txt', 'tokenizer.json', 'spiece.model', 'added_tokens.json'];
const TOKENIZER_FILES = [...VOCABULARY_FILES, 'tokenizer_config.json', 'special_tokens_map.json'];

/** Captions as the conditions of a network: the text encoders, with weights, and how they are read in training. */
export interface TextConditions {
  readonly encoders: readonly (CaptionEncoder & { readonly trained: boolean })[];
  /** The `text` of the model's config.json. */
  readonly config: NonNullable<DiffusionConfig['text']>;
  readonly shape: ReturnType<typeof captionShape>;
  /** The encoders that are trained along, by their folders. */
  readonly trained: Readonly<Record<string, Module>>;
  /** A hash of the vocabularies that were learned of the captions; undefined where none was. */
  readonly vocabulary: string | undefined;
  /** Encoders that are not trained, and tokenizers. */
  readonly frozen: Frozen;
  /** Lines for people where captions are longer than an encoder reads. */
  readonly cut: readonly string[];
  /**
   * What a network of this signature takes of captions, `[N]`, '' for none; in training with dropout. Encoders that are not trained
   * encode each caption once. New tensors.
   */
  read(
    signature: NetworkSignature,
    captions: readonly string[],
    rng: RandomStream,
    training: boolean,
  ): Partial<EncodedCaptions>;
  /** Writes the encoders as they are now into the folder of a model. */
  save(folder: string, options: { readonly half: boolean }): Promise<void>;
}

/** A text encoder of a configuration, with what its folder beside the model holds. */
interface Opened extends CaptionEncoder {
  readonly trained: boolean;
  /** config.json of transformers. */
  readonly config: unknown;
  /** A hash of its vocabulary, where that was learned of the captions. */
  readonly vocabulary?: string;
  /** What is read of its folder, and not trained. */
  readonly frozen?: Frozen;
  /** Writes the files of its tokenizer. */
  saveTokenizer(folder: string): Promise<void>;
}

/**
 * Opens the text encoders of a configuration and loads their weights; one that is new has a vocabulary that is learned of the captions.
 */
export async function openTextConditions(
  { encoders: asked, dropout, tags }: ConditionsConfig,
  captions: readonly (readonly string[])[],
  seed: number | string,
): Promise<TextConditions> {
  const opened: Opened[] = [];
  for (const [i, one] of asked.entries()) {
    opened.push('from' in one ? await openEncoder(one) : newEncoder(one, captions, deriveSeed(seed, `text/${i}`)));
  }
  const folders = opened.map((_, i) => (i === 0 ? 'text_encoder' : `text_encoder_${i + 1}`));
  const trained = Object.fromEntries(
    opened.flatMap((one, i) => (one.trained ? [[folders[i]!, one.encoder as Module]] : [])),
  );
  const learned = opened.flatMap(({ vocabulary }) => vocabulary ?? []).join(' ');
  const caches = new Map<number, CaptionCache>();
  const each = asked.map((one) => one.dropout);
  return {
    encoders: opened,
    config: { encoders: opened.map(({ length, skip }, i) => ({ folder: folders[i]!, length: length!, skip: skip! })) },
    shape: captionShape(opened),
    trained,
    vocabulary: learned === '' ? undefined : learned,
    frozen: Object.assign({}, ...opened.map(({ frozen }) => frozen)) as Frozen,
    cut: [...new Set(opened.flatMap(({ tokenizer, length }) => cutNotes(captions, { tokenizer, length: length! })))],
    read(signature, texts, rng, training) {
      const kept = training ? { all: dropout, each } : { all: 0, each: each.map(() => 0) };
      const varied = training && tags ? texts.map((text) => shuffleTags(text, tags, rng)) : texts;
      const lists = dropCaptions(varied, kept, rng);
      const none = absentCaption(signature);
      return conditionsOf(signature, opened, lists, (i, own) => {
        const one = opened[i]!;
        if (one.trained) return encodeTexts(one, own, { none });
        const cache = caches.get(i) ?? new CaptionCache(one, { none });
        caches.set(i, cache);
        return cache.encode(own);
      });
    },
    async save(folder, { half }) {
      for (const [i, one] of opened.entries()) await saveEncoder(one, join(folder, folders[i]!), half);
    },
  };
}

type EncoderConfig = ConditionsConfig['encoders'][number];

async function openEncoder({ from, length, skip, trained }: Extract<EncoderConfig, { from: string }>): Promise<Opened> {
  const place = placeOf(from);
  // The tokenizer of a pipeline of diffusers is found from the folder above.
  const [files, folder] = hasTokenizer(place) ? [place, ''] : [dirname(place), basename(place)];
  const { encoder, tokenizer, weights, close } = await openTextEncoder(diskFiles(files), folder);
  try {
    await encoder.load(weights);
  } finally {
    close();
  }
  const tokenizerFolder = hasTokenizer(place) ? place : place.replace(/text_encoder(?=(_\d+)?$)/, 'tokenizer');
  const vocabulary = VOCABULARY_FILES.map((name) => join(tokenizerFolder, name)).filter((file) => existsSync(file));
  return {
    ...{ encoder, tokenizer, skip, trained },
    // Weights that are trained along are those of the checkpoint.
    frozen: { [`text encoder ${from}`]: await weightsHash(trained ? undefined : encoder, vocabulary) },
    length: length ?? Math.min(tokenizer.maxLength, USUAL_LENGTH),
    config: 'text_model' in encoder ? clipTextToTransformers(encoder.config) : readJson(join(place, 'config.json')),
    async saveTokenizer(to) {
      for (const name of TOKENIZER_FILES) {
        if (existsSync(join(tokenizerFolder, name))) await cp(join(tokenizerFolder, name), join(to, name));
      }
    },
  };
}

function newEncoder(
  { new: size, vocabulary: tokens, length }: Extract<EncoderConfig, { new: string }>,
  captions: readonly (readonly string[])[],
  seed: number,
): Opened {
  const vocabulary = vocabularyOf({ size: tokens }, captions);
  const vocabSize = Object.keys(vocabulary.vocab).length;
  const { text } = clip.sized!(size, { imageSize: USUAL_LENGTH, channels: 3, classes: null, vocabSize });
  const maxLength = text.positions;
  const encoder = new ClipTextModelWithProjection(text as typeof text & { projection: number }).init(seed);
  return {
    ...{ encoder, tokenizer: clipTokenizer(vocabulary, { maxLength }), skip: 0, trained: true },
    length: length ?? maxLength,
    config: clipTextToTransformers(text),
    vocabulary: vocabularyHash(vocabulary),
    async saveTokenizer(to) {
      for (const [name, content] of Object.entries(clipTokenizerToTransformers(vocabulary, { maxLength }))) {
        await writeFileAtomically(join(to, name), new TextEncoder().encode(content), { overwrite: true });
      }
    },
  };
}

/** The folder of a text encoder: itself, the `model/` of a run, or the `text_encoder/` of a pipeline of diffusers. */
function placeOf(path: string): string {
  if (!existsSync(path)) throw new InvalidArgumentError('conditions', `${path}: no such folder`);
  const places = [join(path, 'model'), path, join(path, 'text_encoder')];
  const found = places.find((place) => existsSync(join(place, 'config.json')) && !isRun(place));
  if (found !== undefined) return found;
  throw new InvalidArgumentError('conditions', `${path}: expected a folder with the config.json of a text encoder`);
}

/** A run's folder has a config.json too, which is a configuration of `train`. */
function isRun(folder: string): boolean {
  return (readJson(join(folder, 'config.json')) as { task?: unknown } | null)?.task !== undefined;
}

function hasTokenizer(folder: string): boolean {
  return ['vocab.json', 'tokenizer.json', 'spiece.model'].some((name) => existsSync(join(folder, name)));
}

/** Writes an encoder in transformers' form, with the files of its tokenizer. */
async function saveEncoder({ encoder, config, saveTokenizer }: Opened, folder: string, half: boolean): Promise<void> {
  await mkdir(folder, { recursive: true });
  const text = new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`);
  await writeFileAtomically(join(folder, 'config.json'), text, { overwrite: true });
  const dtype = half ? 'F16' : 'F32';
  await writeSafetensors(join(folder, 'model.safetensors'), await encoder.save(), { dtype, overwrite: true });
  await saveTokenizer(folder);
}
