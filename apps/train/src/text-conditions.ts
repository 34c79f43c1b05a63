import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DiffusionConfig } from '@mezzotint/app';
import {
  InvalidArgumentError,
  type Module,
  type NetworkSignature,
  type RandomStream,
  withoutGradient,
} from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/data';
import { conditionsOf, diskFiles, openTextEncoder } from '@mezzotint/pipelines/node';
import {
  type CaptionEncoder,
  captionShape,
  clipTextToTransformers,
  type EncodedCaptions,
} from '@mezzotint/text-encoders';
import { dropCaptions } from '@mezzotint/training';
import { readJson, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import type { ConditionsConfig } from './config.js';

/** Longest captions where a configuration does not say, in tokens: CLIP's. */
const USUAL_LENGTH = 77;

/** Files of a tokenizer, as far as there are. */
const TOKENIZER_FILES = [
  ...['vocab.json', 'merges.txt', 'tokenizer.json', 'spiece.model', 'added_tokens.json'],
  ...['tokenizer_config.json', 'special_tokens_map.json'],
];

/** Captions as the conditions of a network: the text encoders, with weights, and how they are read in training. */
export interface TextConditions {
  readonly encoders: readonly CaptionEncoder[];
  /** The `text` of the model's config.json. */
  readonly config: NonNullable<DiffusionConfig['text']>;
  readonly shape: ReturnType<typeof captionShape>;
  /** The encoders that are trained along, by their folders. */
  readonly trained: Readonly<Record<string, Module>>;
  /**
   * What a network of this signature takes of captions, `[N]`, '' for none; in training with dropout. New tensors.
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

/** Opens the text encoders of a configuration and loads their weights. */
export async function openTextConditions({ encoders: asked, dropout }: ConditionsConfig): Promise<TextConditions> {
  const opened: (CaptionEncoder & { readonly folder: string; readonly from: string })[] = [];
  for (const [i, { from, length, skip }] of asked.entries()) {
    const place = placeOf(from);
    // The files of the folder above are there for the tokenizer of a pipeline of diffusers.
    const own = hasTokenizer(place);
    const found = own
      ? await openTextEncoder(diskFiles(place), '')
      : await openTextEncoder(diskFiles(dirname(place)), place.slice(dirname(place).length + 1));
    try {
      await found.encoder.load(found.weights);
    } finally {
      found.close();
    }
    const { encoder, tokenizer } = found;
    opened.push({
      ...{ encoder, tokenizer, skip, from: place },
      length: length ?? Math.min(tokenizer.maxLength, USUAL_LENGTH),
      folder: i === 0 ? 'text_encoder' : `text_encoder_${i + 1}`,
    });
  }
  const trained = Object.fromEntries(
    opened.flatMap(({ folder, encoder }, i) => (asked[i]!.trained ? [[folder, encoder as Module]] : [])),
  );
  const frozen = Object.keys(trained).length === 0;
  const each = asked.map((one) => one.dropout);
  return {
    encoders: opened,
    config: { encoders: opened.map(({ folder, length, skip }) => ({ folder, length: length!, skip: skip! })) },
    shape: captionShape(opened),
    trained,
    read(signature, captions, rng, training) {
      const kept = training ? { all: dropout, each } : { all: 0, each: each.map(() => 0) };
      const texts = dropCaptions(captions, kept, rng);
      const encode = () => conditionsOf(signature, opened, texts);
      return frozen ? constants(encode) : encode();
    },
    async save(folder, { half }) {
      for (const one of opened) await saveEncoder(one, join(folder, one.folder), half);
    },
  };
}

/** The same tensors, as constants: none of the operations that make them is recorded. */
function constants(body: () => Partial<EncodedCaptions>): Partial<EncodedCaptions> {
  return tf.tidy(() => {
    let made: [string, { readonly shape: number[]; readonly size: number; readonly dtype: tf.DataType }][] = [];
    // A constant is one tensor, so that all go through it side by side.
    const all = withoutGradient(() => {
      const tensors = Object.entries(body()) as [string, tf.Tensor][];
      made = tensors.map(([name, { shape, size, dtype }]) => [name, { shape, size, dtype }]);
      return tf.concat(tensors.map(([, tensor]) => tf.reshape(tf.cast(tensor, 'float32'), [-1]))) as tf.Tensor1D;
    });
    const sizes = made.map(([, { size }]) => size);
    const parts: tf.Tensor[] = tf.split(all, sizes);
    return Object.fromEntries(
      made.map(([name, { shape, dtype }], i) => {
        const part: tf.Tensor = tf.reshape(parts[i]!, shape);
        return [name, tf.cast(part, dtype)];
      }),
    );
  });
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
async function saveEncoder(
  { encoder, from }: CaptionEncoder & { readonly from: string },
  folder: string,
  half: boolean,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config = 'text_model' in encoder ? clipTextToTransformers(encoder.config) : readJson(join(from, 'config.json'));
  const text = `${JSON.stringify(config, null, 2)}\n`;
  await writeFileAtomically(join(folder, 'config.json'), new TextEncoder().encode(text), { overwrite: true });
  await writeSafetensors(join(folder, 'model.safetensors'), await encoder.save(), {
    dtype: half ? 'F16' : 'F32',
    overwrite: true,
  });
  const beside = from.replace(/text_encoder(?=(_\d+)?$)/, 'tokenizer');
  const tokenizer = hasTokenizer(from) ? from : beside;
  for (const name of TOKENIZER_FILES) {
    if (existsSync(join(tokenizer, name))) await cp(join(tokenizer, name), join(folder, name));
  }
}
