import { NameTree, positionTable } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, type Made, pair, type Side, same } from './key-map.js';

const BLOCK: readonly KeyPair[] = [
  pair('attn.qkv', 'fused', 'attn1.to_q', 'attn1.to_k', 'attn1.to_v'),
  same('attn.proj', 'attn1.to_out.0'),
  same('mlp.fc1', 'ff.net.0.proj'),
  same('mlp.fc2', 'ff.net.2'),
  same('adaLN_modulation.1', 'norm1.linear'),
];

/** Embedders that the original has once and diffusers in every block, where its training moves them apart. */
const EMBEDDERS: readonly (readonly [string, string])[] = [
  ['t_embedder.mlp.0', 'norm1.emb.timestep_embedder.linear_1'],
  ['t_embedder.mlp.2', 'norm1.emb.timestep_embedder.linear_2'],
  ['y_embedder.embedding_table', 'norm1.emb.class_embedder.embedding_table'],
];

/** What the diffusers layout does not say. */
export interface DitKeyMapOptions {
  /** Patches along a side and channels, for the position table of the original layout; absent, it is not made. */
  readonly grid?: { readonly side: number; readonly width: number };
  /**
   * `shared` (when absent): the embedders of all blocks are copies, as in the published checkpoints, and become the original's
   * one; reading them fails where they differ. `per-block`: each block keeps its own (`blocks.0.t_embedder`), as diffusers'
   * training leaves them. From the original side the names tell.
   */
  readonly embedders?: 'shared' | 'per-block';
}

/**
 * Key map of DiT (Peebles and Xie 2022): the original files (left) and diffusers (right), which repeats the embedders
 * of time and class in every block, splits qkv, and computes the position table instead of saving it.
 */
export function ditKeyMap(
  names: Iterable<string>,
  from: Side,
  { grid, embedders = 'shared' }: DitKeyMapOptions = {},
): KeyMap {
  const tree = new NameTree(names);
  const perBlock = from === 'left' ? tree.has('blocks.0.t_embedder') : embedders === 'per-block';
  const blocks = tree.count(from === 'left' ? 'blocks' : 'transformer_blocks');
  const numbers = Array.from({ length: blocks }, (_, n) => n);
  return {
    name: 'dit: original <-> diffusers',
    pairs: [
      same('x_embedder.proj', 'pos_embed.proj'),
      ...EMBEDDERS.flatMap(([left, right]) => {
        const copies = numbers.map((n) => `transformer_blocks.${n}.${right}`);
        return perBlock
          ? copies.map((copy, n) => same(`blocks.${n}.${left}`, copy))
          : [pair(left, 'copies', ...copies)];
      }),
      ...numbers.flatMap((n) => below(`blocks.${n}`, `transformer_blocks.${n}`, BLOCK)),
      same('final_layer.adaLN_modulation.1', 'proj_out_1'),
      same('final_layer.linear', 'proj_out_2'),
    ],
    leftOut: [{ name: 'pos_embed', side: 'left', why: 'a fixed sine-cosine table, which diffusers computes' }],
    ...(grid === undefined ? {} : { made: [positions(grid)] }),
  };
}

/** DiT's frozen positions `[1, side^2, width]`. */
function positions({ side, width }: { readonly side: number; readonly width: number }): Made {
  const make = () => positionTable([side, side], width);
  return { name: 'pos_embed', side: 'left', shape: [1, side * side, width], make };
}
