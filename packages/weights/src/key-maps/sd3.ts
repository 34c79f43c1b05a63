import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, pair, type Side, same } from './key-map.js';

/** The output layer, the same in Stable Diffusion 3 and FLUX. */
export const FINAL: readonly KeyPair[] = [
  pair('final_layer.adaLN_modulation.1', 'halves-swapped', 'norm_out.linear'),
  same('final_layer.linear', 'proj_out'),
];

const EMBEDDERS: readonly KeyPair[] = [
  same('pos_embed', 'pos_embed.pos_embed'),
  same('x_embedder.proj', 'pos_embed.proj'),
  same('t_embedder.mlp.0', 'time_text_embed.timestep_embedder.linear_1'),
  same('t_embedder.mlp.2', 'time_text_embed.timestep_embedder.linear_2'),
  same('y_embedder.mlp.0', 'time_text_embed.text_embedder.linear_1'),
  same('y_embedder.mlp.2', 'time_text_embed.text_embedder.linear_2'),
  same('context_embedder', 'context_embedder'),
];

const BLOCK: readonly KeyPair[] = [
  pair('x_block.attn.qkv', 'fused', 'attn.to_q', 'attn.to_k', 'attn.to_v'),
  same('x_block.attn.ln_q', 'attn.norm_q'),
  same('x_block.attn.ln_k', 'attn.norm_k'),
  same('x_block.attn.proj', 'attn.to_out.0'),
  pair('x_block.attn2.qkv', 'fused', 'attn2.to_q', 'attn2.to_k', 'attn2.to_v'),
  same('x_block.attn2.ln_q', 'attn2.norm_q'),
  same('x_block.attn2.ln_k', 'attn2.norm_k'),
  same('x_block.attn2.proj', 'attn2.to_out.0'),
  same('x_block.mlp.fc1', 'ff.net.0.proj'),
  same('x_block.mlp.fc2', 'ff.net.2'),
  same('x_block.adaLN_modulation.1', 'norm1.linear'),
  pair('context_block.attn.qkv', 'fused', 'attn.add_q_proj', 'attn.add_k_proj', 'attn.add_v_proj'),
  same('context_block.attn.ln_q', 'attn.norm_added_q'),
  same('context_block.attn.ln_k', 'attn.norm_added_k'),
  same('context_block.attn.proj', 'attn.to_add_out'),
  same('context_block.mlp.fc1', 'ff_context.net.0.proj'),
  same('context_block.mlp.fc2', 'ff_context.net.2'),
];

/**
 * Key map of Stable Diffusion 3 and 3.5 (Esser et al. 2024): Stability's files without their prefix (left) and
 * diffusers (right), which splits qkv and keeps scale before shift in the last modulations: that of the output and
 * that of the last block's text stream, which is only read.
 */
export function sd3KeyMap(names: Iterable<string>, from: Side): KeyMap {
  const tree = new NameTree(names);
  const blocks = tree.count(from === 'left' ? 'joint_blocks' : 'transformer_blocks');
  const pairs = [...EMBEDDERS];
  for (let n = 0; n < blocks; n++) {
    const [left, right] = [`joint_blocks.${n}`, `transformer_blocks.${n}`];
    pairs.push(...below(left, right, BLOCK));
    const op = n === blocks - 1 ? 'halves-swapped' : 'same';
    pairs.push(pair(`${left}.context_block.adaLN_modulation.1`, op, `${right}.norm1_context.linear`));
  }
  return {
    name: 'sd3: original <-> diffusers',
    pairs: [...pairs, ...FINAL],
    leftOut: [],
  };
}
