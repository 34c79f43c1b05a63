import { StateShapes, type WeightSource } from '@mezzotint/core';
import type { ActivationKind } from '@mezzotint/layers';
import { type ClipTextConfig, validateClipTextConfig } from './config.js';

/** Channels of a head in every published text tower. */
const HEAD_WIDTH = 64;

/**
 * The configuration of CLIP's text tower from the names and shapes of its state dict in transformers' layout
 * (`text_model.…`), for files that come without config.json. What shapes do not say is as in all published models: heads
 * of 64 channels, epsilon 1e-5, the end as the largest id.
 *
 * @param activation `quick` for OpenAI's models, `erf` for OpenCLIP's
 * @throws InvalidArgumentError when it is no such tower
 */
export function clipTextFromShapes(tensors: WeightSource['tensors'], activation: ActivationKind): ClipTextConfig {
  const who = 'clipTextFromShapes';
  const shapes = new StateShapes(tensors);
  const tokens = 'text_model.embeddings.token_embedding.weight';
  const width = shapes.axis(tokens, 1);
  const config: ClipTextConfig = {
    vocabSize: shapes.axis(tokens, 0),
    positions: shapes.axis('text_model.embeddings.position_embedding.weight', 0),
    width,
    mlpWidth: shapes.axis('text_model.encoder.layers.0.mlp.fc1.weight', 0),
    layers: shapes.count('text_model.encoder.layers'),
    heads: Math.max(1, Math.floor(width / HEAD_WIDTH)),
    activation,
    epsilon: 1e-5,
    pooledToken: 'largest',
    projection: shapes.has('text_projection.weight') ? shapes.axis('text_projection.weight', 0) : null,
  };
  shapes.check(who);
  validateClipTextConfig(who, config);
  return config;
}
