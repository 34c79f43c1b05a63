import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, pair, type Side, same } from './key-map.js';
import { FINAL } from './sd3.js';

const FLUX_ENDS: readonly KeyPair[] = [
  same('img_in', 'x_embedder'),
  same('txt_in', 'context_embedder'),
  ...(
    [
      ['time_in', 'timestep_embedder'],
      ['vector_in', 'text_embedder'],
      ['guidance_in', 'guidance_embedder'],
    ] as const
  ).flatMap(([left, right]) => [
    same(`${left}.in_layer`, `time_text_embed.${right}.linear_1`),
    same(`${left}.out_layer`, `time_text_embed.${right}.linear_2`),
  ]),
  ...FINAL,
];

const DOUBLE: readonly KeyPair[] = [
  same('img_mod.lin', 'norm1.linear'),
  same('txt_mod.lin', 'norm1_context.linear'),
  pair('img_attn.qkv', 'fused', 'attn.to_q', 'attn.to_k', 'attn.to_v'),
  pair('txt_attn.qkv', 'fused', 'attn.add_q_proj', 'attn.add_k_proj', 'attn.add_v_proj'),
  same('img_attn.norm.query_norm.scale', 'attn.norm_q.weight'),
  same('img_attn.norm.key_norm.scale', 'attn.norm_k.weight'),
  same('txt_attn.norm.query_norm.scale', 'attn.norm_added_q.weight'),
  same('txt_attn.norm.key_norm.scale', 'attn.norm_added_k.weight'),
  same('img_attn.proj', 'attn.to_out.0'),
  same('txt_attn.proj', 'attn.to_add_out'),
  same('img_mlp.0', 'ff.net.0.proj'),
  same('img_mlp.2', 'ff.net.2'),
  same('txt_mlp.0', 'ff_context.net.0.proj'),
  same('txt_mlp.2', 'ff_context.net.2'),
];

const SINGLE: readonly KeyPair[] = [
  // q, k, v and the MLP's input, four times as wide, in one matrix.
  { ...pair('linear1', 'fused', 'attn.to_q', 'attn.to_k', 'attn.to_v', 'proj_mlp'), shares: [1, 1, 1, 4] },
  same('linear2', 'proj_out'),
  same('modulation.lin', 'norm.linear'),
  same('norm.query_norm.scale', 'attn.norm_q.weight'),
  same('norm.key_norm.scale', 'attn.norm_k.weight'),
];

/** Key map of FLUX.1 (dev and schnell): Black Forest Labs' files without prefix (left) and diffusers (right). */
export function fluxKeyMap(names: Iterable<string>, from: Side): KeyMap {
  const tree = new NameTree(names);
  const [double, single] = (
    from === 'left' ? ['double_blocks', 'single_blocks'] : ['transformer_blocks', 'single_transformer_blocks']
  ).map((prefix) => tree.count(prefix)) as [number, number];
  const pairs = [...FLUX_ENDS];
  for (let n = 0; n < double; n++) pairs.push(...below(`double_blocks.${n}`, `transformer_blocks.${n}`, DOUBLE));
  for (let n = 0; n < single; n++) pairs.push(...below(`single_blocks.${n}`, `single_transformer_blocks.${n}`, SINGLE));
  return { name: 'flux: original <-> diffusers', pairs, leftOut: [] };
}
