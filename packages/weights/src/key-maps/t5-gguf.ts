import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, same } from './key-map.js';

const BLOCK: readonly KeyPair[] = [
  same('attn_q', 'layer.0.SelfAttention.q'),
  same('attn_k', 'layer.0.SelfAttention.k'),
  same('attn_v', 'layer.0.SelfAttention.v'),
  same('attn_o', 'layer.0.SelfAttention.o'),
  same('attn_rel_b', 'layer.0.SelfAttention.relative_attention_bias'),
  same('attn_norm', 'layer.0.layer_norm'),
  same('ffn_down', 'layer.1.DenseReluDense.wo'),
  same('ffn_norm', 'layer.1.layer_norm'),
];

const GATED = [same('ffn_gate', 'layer.1.DenseReluDense.wi_0'), same('ffn_up', 'layer.1.DenseReluDense.wi_1')];
const PLAIN = [same('ffn_up', 'layer.1.DenseReluDense.wi')];

/** Key map of T5's encoder: llama.cpp's names in GGUF files (left) and transformers' (right). */
export function t5GgufKeyMap(names: Iterable<string>): KeyMap {
  const tree = new NameTree(names);
  const mlp = tree.has('enc.blk.0.ffn_gate') ? GATED : PLAIN;
  const blocks = Array.from({ length: tree.count('enc.blk') }, (_, n) =>
    below(`enc.blk.${n}`, `encoder.block.${n}`, [...BLOCK, ...mlp]),
  );
  return {
    name: 't5: GGUF <-> transformers',
    pairs: [same('token_embd', 'shared'), ...blocks.flat(), same('enc.output_norm', 'encoder.final_layer_norm')],
    leftOut: [],
  };
}
