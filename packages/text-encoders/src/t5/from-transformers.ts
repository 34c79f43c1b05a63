import { InvalidArgumentError } from '@mezzotint/core';
import { activationNames, activationOf } from '@mezzotint/layers';
import { transformersReader } from '../transformers-json.js';
import { type T5EncoderConfig, validateT5Config } from './config.js';

/**
 * Our configuration from the config.json of transformers' T5 (encoder alone or with its decoder), version 1.0 (ReLU) or
 * 1.1 (gated GELU).
 *
 * @throws InvalidArgumentError naming everything that is wrong
 */
export function t5FromTransformers(json: unknown): T5EncoderConfig {
  const who = 't5FromTransformers';
  const read = transformersReader(who, json, ['t5']);
  const said = read('feed_forward_proj', 'relu');
  const [, gate, name] = /^(gated-)?(\w+)$/.exec(typeof said === 'string' ? said : '') ?? [];
  // By "gated-gelu" the first files of version 1.1 mean the tanh form.
  const activation = said === 'gated-gelu' ? 'tanh' : activationOf(name);
  if (activation === undefined) {
    const known = Object.keys(activationNames).join(', ');
    throw new InvalidArgumentError(
      who,
      `feed_forward_proj: expected one of ${known}, or gated- before it, got ${JSON.stringify(said)}`,
    );
  }
  const config: T5EncoderConfig = {
    vocabSize: read('vocab_size', 32128) as number,
    width: read('d_model', 512) as number,
    headWidth: read('d_kv', 64) as number,
    heads: read('num_heads', 8) as number,
    mlpWidth: read('d_ff', 2048) as number,
    activation,
    gated: gate !== undefined,
    layers: read('num_layers', 6) as number,
    buckets: read('relative_attention_num_buckets', 32) as number,
    maxDistance: read('relative_attention_max_distance', 128) as number,
    epsilon: read('layer_norm_epsilon', 1e-6) as number,
  };
  validateT5Config(who, config);
  return config;
}
