import { StateShapes, type WeightSource } from '@mezzotint/core';
import { type T5EncoderConfig, validateT5Config } from './config.js';

/**
 * The configuration of T5's encoder from the names and shapes of its state dict in transformers' layout, for files that come
 * without config.json. What shapes do not say is as in all published models: relative positions up to 128, epsilon 1e-6,
 * tanh-GELU where the feed-forwards are gated (version 1.1) and ReLU elsewhere.
 *
 * @throws InvalidArgumentError when it is no such encoder
 */
export function t5FromShapes(tensors: WeightSource['tensors']): T5EncoderConfig {
  const who = 't5FromShapes';
  const shapes = new StateShapes(tensors);
  const block = 'encoder.block.0.layer';
  const table = shapes.has('shared.weight') ? 'shared.weight' : 'encoder.embed_tokens.weight';
  const bias = `${block}.0.SelfAttention.relative_attention_bias.weight`;
  const gated = shapes.has(`${block}.1.DenseReluDense.wi_0`);
  const heads = shapes.axis(bias, 1);
  const config: T5EncoderConfig = {
    vocabSize: shapes.axis(table, 0),
    width: shapes.axis(table, 1),
    headWidth: shapes.axis(`${block}.0.SelfAttention.q.weight`, 0) / (heads || 1),
    heads,
    mlpWidth: shapes.axis(`${block}.1.DenseReluDense.wo.weight`, 1),
    activation: gated ? 'tanh' : 'relu',
    gated,
    layers: shapes.count('encoder.block'),
    buckets: shapes.axis(bias, 0),
    maxDistance: 128,
    epsilon: 1e-6,
  };
  shapes.check(who);
  validateT5Config(who, config);
  return config;
}
