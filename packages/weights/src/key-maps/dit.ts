import { below, type KeyMap, type KeyPair, type Made, NameTree, pair, type Side, same } from './key-map.js';

const BLOCK: readonly KeyPair[] = [
  pair('attn.qkv', 'fused', 'attn1.to_q', 'attn1.to_k', 'attn1.to_v'),
  same('attn.proj', 'attn1.to_out.0'),
  same('mlp.fc1', 'ff.net.0.proj'),
  same('mlp.fc2', 'ff.net.2'),
  same('adaLN_modulation.1', 'norm1.linear'),
];

/** Embedders that the original has once and diffusers in every block. */
const EMBEDDERS: readonly (readonly [string, string])[] = [
  ['t_embedder.mlp.0', 'norm1.emb.timestep_embedder.linear_1'],
  ['t_embedder.mlp.2', 'norm1.emb.timestep_embedder.linear_2'],
  ['y_embedder.embedding_table', 'norm1.emb.class_embedder.embedding_table'],
];

/** What the diffusers layout does not say. */
export interface DitKeyMapOptions {
  /** Patches along a side and channels, for the position table of the original layout; absent, it is not made. */
  readonly grid?: { readonly side: number; readonly width: number };
}

/**
 * Key map of DiT (Peebles and Xie 2022): the original files (left) and diffusers (right), which repeats the embedders
 * of time and class in every block, splits qkv, and computes the position table instead of saving it.
 */
export function ditKeyMap(names: Iterable<string>, from: Side, { grid }: DitKeyMapOptions = {}): KeyMap {
  const tree = new NameTree(names);
  const blocks = tree.count(from === 'left' ? 'blocks' : 'transformer_blocks');
  const numbers = Array.from({ length: blocks }, (_, n) => n);
  return {
    name: 'dit: original <-> diffusers',
    pairs: [
      same('x_embedder.proj', 'pos_embed.proj'),
      ...EMBEDDERS.map(([left, right]) =>
        pair(left, 'copies', ...numbers.map((n) => `transformer_blocks.${n}.${right}`)),
      ),
      ...numbers.flatMap((n) => below(`blocks.${n}`, `transformer_blocks.${n}`, BLOCK)),
      same('final_layer.adaLN_modulation.1', 'proj_out_1'),
      same('final_layer.linear', 'proj_out_2'),
    ],
    leftOut: [{ name: 'pos_embed', side: 'left', why: 'a fixed sine-cosine table, which diffusers computes' }],
    ...(grid === undefined ? {} : { made: [positionTable(grid)] }),
  };
}

/** DiT's frozen positions `[1, side^2, width]`: sines and cosines of the column, then of the row. */
function positionTable({ side, width }: { readonly side: number; readonly width: number }): Made {
  const quarter = width / 4;
  const make = () => {
    const table = new Float32Array(side * side * width);
    for (let row = 0, at = 0; row < side; row++)
      for (let column = 0; column < side; column++)
        for (const position of [column, row])
          for (const wave of [Math.sin, Math.cos])
            for (let i = 0; i < quarter; i++) table[at++] = wave(position * 10000 ** (-i / quarter));
    return table;
  };
  return { name: 'pos_embed', side: 'left', shape: [1, side * side, width], make };
}
