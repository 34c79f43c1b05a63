import { InvalidArgumentError } from '@mezzotint/core';
import { activationNames, activationOf } from '@mezzotint/layers';
import { isObject, type TransformersReader, transformersReader } from '../transformers-json.js';
import {
  type ClipConfig,
  type ClipTextConfig,
  type ClipTowerConfig,
  type ClipVisionConfig,
  validateClipConfig,
  validateClipTextConfig,
  validateClipVisionConfig,
} from './config.js';

/** A configuration whose checkpoint has a projection. */
type Projecting<C> = C & { readonly projection: number };

/** The id that transformers' first CLIP configurations gave by mistake; it pools the largest id of a text then. */
const MISTAKEN_END = 2;

/**
 * Our configuration from the config.json of transformers' `CLIPTextModel` or `CLIPTextModelWithProjection` (of a whole
 * `CLIPModel`, its text half). `projection` is there in both; {@link ClipTextModel} does not use it.
 *
 * @throws InvalidArgumentError naming everything that is wrong
 */
export function clipTextFromTransformers(json: unknown): Projecting<ClipTextConfig> {
  const who = 'clipTextFromTransformers';
  const read = transformersReader(who, half(json, 'text'), ['clip_text_model', 'clip']);
  const config = textConfig(who, read, read('projection_dim', 512));
  validateClipTextConfig(who, config);
  return config;
}

/**
 * Our configuration from the config.json of transformers' `CLIPVisionModel` or `CLIPVisionModelWithProjection` (of a
 * whole `CLIPModel`, its image half).
 *
 * @throws InvalidArgumentError naming everything that is wrong
 */
export function clipVisionFromTransformers(json: unknown): Projecting<ClipVisionConfig> {
  const who = 'clipVisionFromTransformers';
  const read = transformersReader(who, half(json, 'vision'), ['clip_vision_model', 'clip']);
  const config = visionConfig(who, read, read('projection_dim', 512));
  validateClipVisionConfig(who, config);
  return config;
}

/**
 * Our configuration from the config.json of transformers' `CLIPModel`.
 *
 * @throws InvalidArgumentError naming everything that is wrong
 */
export function clipFromTransformers(json: unknown): ClipConfig {
  const who = 'clipFromTransformers';
  const projection = transformersReader(who, json, ['clip'])('projection_dim', 512);
  const text = transformersReader(who, half(json, 'text'), ['clip_text_model', 'clip']);
  const vision = transformersReader(who, half(json, 'vision'), ['clip_vision_model', 'clip']);
  const config = { text: textConfig(who, text, projection), vision: visionConfig(who, vision, projection) };
  validateClipConfig(who, config);
  return config;
}

/** One half of a whole CLIP's configuration. Where both exist, transformers uses `…_config_dict`, the older. */
function half(json: unknown, name: 'text' | 'vision'): unknown {
  if (!isObject(json) || !(isObject(json[`${name}_config`]) || json.model_type === 'clip')) return json;
  return json[`${name}_config_dict`] ?? json[`${name}_config`] ?? {};
}

function textConfig(who: string, read: TransformersReader, projection: unknown): Projecting<ClipTextConfig> {
  const end = read('eos_token_id', 49407) as number;
  return {
    vocabSize: read('vocab_size', 49408) as number,
    positions: read('max_position_embeddings', 77) as number,
    ...towerConfig(who, read, { width: 512, mlpWidth: 2048, heads: 8 }),
    pooledToken: end === MISTAKEN_END ? 'largest' : end,
    projection: projection as number,
  };
}

function visionConfig(who: string, read: TransformersReader, projection: unknown): Projecting<ClipVisionConfig> {
  return {
    imageSize: read('image_size', 224) as number,
    patchSize: read('patch_size', 32) as number,
    channels: read('num_channels', 3) as number,
    ...towerConfig(who, read, { width: 768, mlpWidth: 3072, heads: 12 }),
    projection: projection as number,
  };
}

function towerConfig(
  who: string,
  read: TransformersReader,
  fallback: { readonly width: number; readonly mlpWidth: number; readonly heads: number },
): ClipTowerConfig {
  const name = read('hidden_act', 'quick_gelu');
  const activation = activationOf(name);
  if (activation === undefined) {
    const known = Object.keys(activationNames).join(', ');
    throw new InvalidArgumentError(who, `hidden_act: expected one of ${known}, got ${JSON.stringify(name)}`);
  }
  return {
    width: read('hidden_size', fallback.width) as number,
    mlpWidth: read('intermediate_size', fallback.mlpWidth) as number,
    layers: read('num_hidden_layers', 12) as number,
    heads: read('num_attention_heads', fallback.heads) as number,
    activation,
    epsilon: read('layer_norm_eps', 1e-5) as number,
  };
}
