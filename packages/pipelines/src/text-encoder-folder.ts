import { InvalidFileError, renamed, textOf, type WeightSource } from '@mezzotint/core';
import {
  type CaptionEncoder,
  ClipTextModel,
  ClipTextModelWithProjection,
  clipTextFromTransformers,
  T5EncoderModel,
  type Tokenizer,
  t5FromTransformers,
} from '@mezzotint/text-encoders';
import { openComponent } from '@mezzotint/weights';
import type { ModelFiles } from './family.js';
import { openClipTokenizer, openT5Tokenizer } from './tokenizers.js';

/** A text encoder of a folder, without weights, and where they are. */
export interface OpenedTextEncoder {
  readonly encoder: CaptionEncoder['encoder'];
  readonly tokenizer: Tokenizer;
  readonly weights: WeightSource;
  close(): void;
}

/** Tensors of a whole CLIP that its text tower does not have. */
const OF_IMAGES = ['vision_model.', 'visual_projection.', 'logit_scale'];

/**
 * Opens a text encoder in a folder of transformers' form: CLIP's text tower (of a whole CLIP too, such as `train` makes) or T5's encoder,
 * with its tokenizer in the same folder or, as in pipelines of diffusers, in `tokenizer` beside `text_encoder`. Reads configurations and
 * headers only.
 *
 * @param place the folder among the files, '' for the files themselves
 * @throws InvalidFileError when it is neither of them, or has no tokenizer
 */
export async function openTextEncoder(files: ModelFiles, place: string): Promise<OpenedTextEncoder> {
  const at = (name: string) => (place === '' ? name : `${place}/${name}`);
  const name = place === '' ? files.name : `${files.name}/${place}`;
  if (!files.has(at('config.json'))) throw new InvalidFileError(name, 'has no config.json of a text encoder');
  const json = (await files.json(at('config.json'))) as Readonly<Record<string, unknown>> | null;
  const type = textOf(json?.model_type);
  if (!['clip', 'clip_text_model', 't5'].includes(type)) {
    throw new InvalidFileError(`${name}/config.json`, `expected CLIP or T5 as a model_type, got ${type}`);
  }
  const tokenizer = await tokenizerOf(files, place, type === 't5');
  const file = await files.weights(place);
  try {
    if (type === 't5') {
      const weights = openComponent(file).weights;
      return { encoder: new T5EncoderModel(t5FromTransformers(json)), tokenizer, weights, close: () => file.close() };
    }
    const weights = renamed(file, (key) => (OF_IMAGES.some((start) => key.startsWith(start)) ? undefined : key));
    const config = clipTextFromTransformers(json);
    const limited = { ...tokenizer, maxLength: Math.min(tokenizer.maxLength, config.positions) };
    const encoder = weights.tensors.has('text_projection.weight')
      ? new ClipTextModelWithProjection(config)
      : new ClipTextModel({ ...config, projection: null });
    return { encoder, tokenizer: limited, weights, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The tokenizer in the folder itself, or in the one that pipelines of diffusers have beside it. */
async function tokenizerOf(files: ModelFiles, place: string, isT5: boolean): Promise<Tokenizer> {
  const beside = place.replace(/text_encoder(?=(_\d+)?$)/, 'tokenizer');
  const own = place === '' ? '.' : place;
  if (isT5) {
    const found = (await openT5Tokenizer(files, own)) ?? (await openT5Tokenizer(files, beside));
    if (found !== undefined) return found;
    throw new InvalidFileError(`${files.name}/${place}`, 'has no tokenizer: neither tokenizer.json nor spiece.model');
  }
  const has = (folder: string) => files.has(`${folder}/vocab.json`) || files.has(`${folder}/tokenizer.json`);
  return openClipTokenizer(files, has(own) || !has(beside) ? own : beside);
}
