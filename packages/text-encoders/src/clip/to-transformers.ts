import type { ActivationKind } from '@mezzotint/layers';
import { activationNames, activationOf } from '@mezzotint/layers';
import { END, START } from '../tokenizers/clip-tokenizer.js';
import type { ClipVocabulary } from '../tokenizers/train-clip-vocabulary.js';
import type { ClipConfig, ClipTextConfig, ClipTowerConfig, ClipVisionConfig } from './config.js';
import { DEVIATION, MEAN } from './vision.js';

/**
 * The config.json of transformers' `CLIPModel` for a configuration of ours. What transformers cannot say is that a text is pooled at
 * its largest id in another way than by `eos_token_id` 2, which is what it gets then.
 */
export function clipToTransformers({ text, vision }: ClipConfig): Readonly<Record<string, unknown>> {
  return {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: text.projection,
    text_config: textToTransformers(text),
    vision_config: visionToTransformers(vision),
  };
}

/** The config.json of transformers' `CLIPTextModelWithProjection`, or without a projection of its `CLIPTextModel`. */
export function clipTextToTransformers(config: ClipTextConfig): Readonly<Record<string, unknown>> {
  const name = config.projection === null ? 'CLIPTextModel' : 'CLIPTextModelWithProjection';
  return { architectures: [name], ...textToTransformers(config) };
}

/**
 * The small files of a tokenizer of CLIP's kind as transformers' `CLIPTokenizer` opens them, by name: vocab.json, merges.txt,
 * tokenizer_config.json, special_tokens_map.json.
 */
export function clipTokenizerToTransformers(
  { vocab, merges }: ClipVocabulary,
  { maxLength }: { readonly maxLength: number },
): Readonly<Record<string, string>> {
  const tokens = { bos_token: START, eos_token: END, unk_token: END, pad_token: END };
  return {
    'vocab.json': jsonText(vocab),
    'merges.txt': merges,
    'special_tokens_map.json': jsonText(tokens),
    'tokenizer_config.json': jsonText({ tokenizer_class: 'CLIPTokenizer', ...tokens, model_max_length: maxLength }),
  };
}

/** preprocessor_config.json: what transformers' `CLIPImageProcessor` does to a picture before this image tower sees it. */
export function clipPreprocessorToTransformers({ imageSize }: ClipVisionConfig): Readonly<Record<string, unknown>> {
  return {
    image_processor_type: 'CLIPImageProcessor',
    ...{ do_convert_rgb: true, do_resize: true, size: { shortest_edge: imageSize }, resample: 3 },
    ...{ do_center_crop: true, crop_size: { height: imageSize, width: imageSize } },
    ...{ do_rescale: true, rescale_factor: 1 / 255, do_normalize: true, image_mean: MEAN, image_std: DEVIATION },
  };
}

function textToTransformers({ vocabSize, positions, pooledToken, projection, ...tower }: ClipTextConfig) {
  const end = pooledToken === 'largest' ? vocabSize - 1 : pooledToken;
  return {
    model_type: 'clip_text_model',
    ...{ vocab_size: vocabSize, max_position_embeddings: positions, ...towerToTransformers(tower) },
    ...(projection !== null && { projection_dim: projection }),
    ...{ bos_token_id: end - 1, eos_token_id: pooledToken === 'largest' ? 2 : pooledToken, pad_token_id: end },
  };
}

function visionToTransformers({ imageSize, patchSize, channels, projection, ...tower }: ClipVisionConfig) {
  return {
    model_type: 'clip_vision_model',
    ...{ image_size: imageSize, patch_size: patchSize, num_channels: channels, ...towerToTransformers(tower) },
    ...(projection !== null && { projection_dim: projection }),
  };
}

function towerToTransformers({ width, mlpWidth, layers, heads, activation, epsilon }: ClipTowerConfig) {
  return {
    ...{ hidden_size: width, intermediate_size: mlpWidth, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ hidden_act: nameOf(activation), layer_norm_eps: epsilon },
  };
}

/** transformers' name of a nonlinearity; every kind has one. */
function nameOf(activation: ActivationKind): string {
  return Object.keys(activationNames).find((name) => activationOf(name) === activation)!;
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
