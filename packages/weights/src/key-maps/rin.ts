import { type KeyMap, type KeyPair, type Side, same } from './key-map.js';

/** Layers with `kernel` and `bias` (dense) or `gamma` and `beta` (norms): the original's checkpoint key, Keras's name. */
type Layer = readonly [left: string, right: string, kind: 'dense' | 'norm'];

const mlp = (left: string, right: string): readonly Layer[] => [
  [`${left}.mlp_layers.0.dense1`, `${right}/ffn/dense1`, 'dense'],
  [`${left}.mlp_layers.0.dense2`, `${right}/ffn/dense2`, 'dense'],
  [`${left}.layernorms.0`, `${right}/ffn/ln`, 'norm'],
];

const attention = (left: string, right: string): readonly Layer[] => [
  [`${left}._query_dense`, `${right}/query`, 'dense'],
  [`${left}._key_dense`, `${right}/key`, 'dense'],
  [`${left}._value_dense`, `${right}/value`, 'dense'],
  [`${left}._output_dense`, `${right}/attention_output`, 'dense'],
];

const crossUnit = (left: string, right: string): readonly Layer[] => [
  [`${left}.dec_layers.0.cross_ln`, `${right}/transformer_decoder_layer/cross_mha/ln`, 'norm'],
  [`${left}.dec_layers.0.enc_ln`, `${right}/transformer_decoder_layer/cross_mha/enc_ln`, 'norm'],
  ...attention(`${left}.dec_layers.0.cross_mha`, `${right}/transformer_decoder_layer/cross_mha`),
  ...mlp(`${left}.dec_layers.0.mlp`, `${right}/transformer_decoder_layer/mlp`),
];

const selfLayer = (left: string, right: string): readonly Layer[] => [
  [`${left}.mha_ln`, `${right}/mha/ln`, 'norm'],
  ...attention(`${left}.mha`, `${right}/mha`),
  ...mlp(`${left}.mlp`, `${right}/mlp`),
];

/** What stands once in the model. */
const once: readonly Layer[] = [
  ['stem', 'stem', 'dense'],
  ['stem_ln', 'stem_ln', 'norm'],
  ['time_emb.dense_0', 'time_emb/dense0', 'dense'],
  ['time_emb.dense_1', 'time_emb/dense1', 'dense'],
  ['cond_proj', 'cond_proj', 'dense'],
  ...mlp('latent_prev_proj', 'latent_prev_proj'),
  ['latent_prev_ln', 'latent_prev_ln', 'norm'],
  ...mlp('tape_prev_proj', 'tape_prev_proj'),
  ['tape_prev_ln', 'tape_prev_ln', 'norm'],
  ['output_ln', 'output_ln', 'norm'],
  ['output_linear', 'output_linear', 'dense'],
];

const tables: ReadonlyArray<readonly [string, string]> = ['latent', 'tape'].flatMap((part) => [
  [`${part}_pos_emb`, `${part}_pos_emb/kernel/vis_pos_embedding`],
  [`${part}_pos_emb_res`, `${part}_pos_emb_res/kernel`],
]);

/**
 * Key map of RIN (Jabri et al. 2022): the object paths of the original's TensorFlow checkpoints with dots (left), and the names
 * of its Keras variables below the layer's own name, `tape` (right). The numbers are the same.
 */
export function rinKeyMap(names: Iterable<string>, from: Side): KeyMap {
  const [layerAt, blockAt] =
    from === 'left'
      ? [/^latent_processing_units\.(\d+)\.enc_layers\.(\d+)\./, /^read_units\.(\d+)\./]
      : [/^tape\/latent_processing_unit(\d+)\/transformer_encoder(?:_(\d+))?\//, /^tape\/read_unit_(\d+)\//];
  const blocks = new Set<string>();
  const layers = new Set<string>();
  for (const name of names) {
    const block = blockAt.exec(name)?.[1];
    if (block !== undefined) blocks.add(block);
    const [, unit, layer] = layerAt.exec(name) ?? [];
    if (unit !== undefined) layers.add(`${unit}.${layer ?? 0}`);
  }
  const found: readonly Layer[] = [
    ...once,
    ...[...blocks].flatMap((i) => [
      ...crossUnit(`read_units.${i}`, `read_unit_${i}`),
      ...crossUnit(`write_units.${i}`, `write_unit_${i}`),
    ]),
    ...[...layers].flatMap((place) => {
      const [i, j] = place.split('.') as [string, string];
      const encoder = `transformer_encoder${j === '0' ? '' : `_${j}`}`;
      return selfLayer(`latent_processing_units.${i}.enc_layers.${j}`, `latent_processing_unit${i}/${encoder}`);
    }),
  ];
  const pairs: readonly KeyPair[] = [
    ...tables.map(([left, right]) => same(left, `tape/${right}`)),
    ...found.flatMap(([left, right, kind]) =>
      (kind === 'dense' ? ['kernel', 'bias'] : ['gamma', 'beta']).map((v) =>
        same(`${left}.${v}`, `tape/${right}/${v}`),
      ),
    ),
  ];
  return { name: 'rin: checkpoint <-> Keras variables', pairs, leftOut: [] };
}
