import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  ClipModel,
  ClipTextModel,
  ClipVisionModel,
  clipFromTransformers,
  clipL14,
  clipTextFromTransformers,
  clipTextL14,
  clipVisionFromTransformers,
  openClipTextH14,
  T5EncoderModel,
  t5FromTransformers,
  t5Xxl,
} from '../src/index.js';

// What matters of the published files, with the odd keys that they have besides.
const noise = { model_type: 'clip_text_model', num_beams: 1, torch_dtype: 'float32', return_dict: true };
const l14 = {
  ...noise,
  attention_dropout: 0,
  bos_token_id: 0,
  eos_token_id: 2,
  hidden_act: 'quick_gelu',
  hidden_size: 768,
  intermediate_size: 3072,
  layer_norm_eps: 1e-5,
  max_position_embeddings: 77,
  num_attention_heads: 12,
  num_hidden_layers: 12,
  pad_token_id: 1,
  projection_dim: 768,
  vocab_size: 49408,
};
const whole = {
  model_type: 'clip',
  projection_dim: 768,
  text_config: { ...l14, hidden_size: 1 },
  // Both are in the published file; transformers takes the older.
  text_config_dict: { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12, eos_token_id: 2 },
  vision_config: {
    model_type: 'clip_vision_model',
    hidden_size: 1024,
    intermediate_size: 4096,
    num_attention_heads: 16,
    num_hidden_layers: 24,
    patch_size: 14,
  },
};

describe('config.json of transformers', () => {
  test('Stable Diffusion 1’s text encoder', () => {
    expect({ ...clipTextFromTransformers(l14), projection: null }).toEqual(clipTextL14.build().config);
  });

  test('Stable Diffusion 2’s text encoder', () => {
    const json = { ...l14, hidden_act: 'gelu', hidden_size: 1024, intermediate_size: 4096, num_attention_heads: 16 };
    const config = clipTextFromTransformers({ ...json, num_hidden_layers: 23, projection_dim: 512 });
    expect({ ...config, projection: null }).toEqual(openClipTextH14.build().config);
  });

  test('a whole CLIP, and its halves', () => {
    expect(clipFromTransformers(whole)).toEqual(clipL14.build().config);
    expect(clipTextFromTransformers(whole).width).toBe(768);
    expect(clipVisionFromTransformers(whole).patchSize).toBe(14);
  });

  test('the token that stands for a text: the mistaken id 2, or the right one', () => {
    expect(clipTextFromTransformers(l14).pooledToken).toBe('largest');
    expect(clipTextFromTransformers({ ...l14, eos_token_id: 49407 }).pooledToken).toBe(49407);
    expect(clipTextFromTransformers({ ...l14, eos_token_id: undefined }).pooledToken).toBe(49407);
  });

  test('T5 XXL', () => {
    const json = {
      model_type: 't5',
      architectures: ['T5EncoderModel'],
      d_ff: 10240,
      d_kv: 64,
      d_model: 4096,
      feed_forward_proj: 'gated-gelu',
      num_heads: 64,
      num_layers: 24,
      relative_attention_max_distance: 128,
      relative_attention_num_buckets: 32,
      layer_norm_epsilon: 1e-6,
      vocab_size: 32128,
    };
    expect(t5FromTransformers(json)).toEqual(t5Xxl.build().config);
  });

  test.each<[string, () => unknown, RegExp]>([
    ['no object', () => clipTextFromTransformers([]), /expected the config.json of transformers/],
    [
      'another model',
      () => clipTextFromTransformers({ model_type: 't5' }),
      /expected clip_text_model or clip, got "t5"/,
    ],
    [
      'unknown activation',
      () => clipTextFromTransformers({ hidden_act: 'sine' }),
      /hidden_act: expected one of quick_gelu/,
    ],
    ['activation by inheritance', () => clipTextFromTransformers({ hidden_act: 'toString' }), /hidden_act/],
    [
      'an unknown gate',
      () => t5FromTransformers({ feed_forward_proj: 'swapped-gelu' }),
      /feed_forward_proj: expected one/,
    ],
    ['an unknown network', () => t5FromTransformers({ feed_forward_proj: 'gated-sine' }), /or gated- before it, got/],
    ['text for a number', () => clipTextFromTransformers({ hidden_size: '768' }), /width: expected a whole number/],
    ['a billion layers', () => clipTextFromTransformers({ num_hidden_layers: 1e9 }), /layers: expected at most 1024/],
  ])('%s is refused', (_, read, message) => {
    expect(read).toThrow(InvalidArgumentError);
    expect(read).toThrow(message);
  });
});

describe('relations are checked before anything is allocated', () => {
  const text = clipTextL14.build().config;
  const { vision } = clipL14.build().config;
  const t5 = t5Xxl.build().config;
  test.each<[() => unknown, RegExp]>([
    [() => new ClipTextModel({ ...text, heads: 5 }), /5 heads do not divide a width of 768/],
    [() => new ClipTextModel({ ...text, width: 0, epsilon: 0 }), /width: [\s\S]*epsilon: /],
    [() => new ClipTextModel({ ...text, pooledToken: -1 }), /pooledToken: expected an id or 'largest'/],
    [() => new ClipVisionModel({ ...vision, patchSize: 15 }), /15 pixels do not divide an image of 224/],
    [() => new ClipModel({ text, vision }), /expected the same width, got null and 768/],
    [() => new ClipModel({ text: { ...text, layers: 0.5, projection: 768 }, vision }), /text\.layers/],
    [
      () => new T5EncoderModel({ ...t5, buckets: {} as number, maxDistance: [] as unknown as number }),
      /buckets[\s\S]*maxDistance/,
    ],
    [() => new T5EncoderModel({ ...t5, buckets: 6 }), /buckets: expected a multiple of 4/],
    [() => new T5EncoderModel({ ...t5, maxDistance: 8 }), /maxDistance: expected more than buckets \/ 4 = 8, got 8/],
  ])('%#', (build, message) => {
    expect(build).toThrow(InvalidArgumentError);
    expect(build).toThrow(message);
  });
});
