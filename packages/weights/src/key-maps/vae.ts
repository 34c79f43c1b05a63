import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, pair, type Side, same } from './key-map.js';

/** Diffusers' first names of the VAE's attention (left) and its present ones (right). */
const OLD_ATTENTION: readonly KeyPair[] = [
  same('query', 'to_q'),
  same('key', 'to_k'),
  same('value', 'to_v'),
  same('proj_attn', 'to_out.0'),
];

/** A residual block of the VAE: the names differ in the shortcut alone. */
const VAE_RESNET: readonly KeyPair[] = [
  same('norm1', 'norm1'),
  same('conv1', 'conv1'),
  same('norm2', 'norm2'),
  same('conv2', 'conv2'),
  same('nin_shortcut', 'conv_shortcut'),
];

/** The VAE's attention: 1x1 convolutions in the original, linear layers in diffusers. */
const VAE_ATTENTION: readonly KeyPair[] = [
  same('norm', 'group_norm'),
  pair('q', 'pointwise', 'to_q'),
  pair('k', 'pointwise', 'to_k'),
  pair('v', 'pointwise', 'to_v'),
  pair('proj_out', 'pointwise', 'to_out.0'),
];

const VAE_ENDS: readonly KeyPair[] = [
  ...['encoder', 'decoder'].flatMap((half) => [
    same(`${half}.conv_in`, `${half}.conv_in`),
    ...below(`${half}.mid.block_1`, `${half}.mid_block.resnets.0`, VAE_RESNET),
    ...below(`${half}.mid.attn_1`, `${half}.mid_block.attentions.0`, VAE_ATTENTION),
    ...below(`${half}.mid.block_2`, `${half}.mid_block.resnets.1`, VAE_RESNET),
    same(`${half}.norm_out`, `${half}.conv_norm_out`),
    same(`${half}.conv_out`, `${half}.conv_out`),
  ]),
  same('quant_conv', 'quant_conv'),
  same('post_quant_conv', 'post_quant_conv'),
  same('quantize.embedding', 'quantize.embedding'),
];

/**
 * Key map of the autoencoders (KL with 4 and 16 channels, VQ): `encoder.down.I.block.J` of the original files (left)
 * and `encoder.down_blocks.I.resnets.J` of diffusers (right). The original counts the decoder's levels from the output.
 */
export function vaeKeyMap(names: Iterable<string>, from: Side): KeyMap {
  const tree = new NameTree(names);
  const levels = tree.count(from === 'left' ? 'encoder.down' : 'encoder.down_blocks');
  const decoderLevels = tree.count(from === 'left' ? 'decoder.up' : 'decoder.up_blocks');
  const layers = tree.count(from === 'left' ? 'encoder.down.0.block' : 'encoder.down_blocks.0.resnets');
  const decoderLayers = tree.count(from === 'left' ? 'decoder.up.0.block' : 'decoder.up_blocks.0.resnets');
  const pairs = [...VAE_ENDS];
  const level = (left: string, right: string, count: number, sampler: string) => {
    for (let j = 0; j < count; j++) {
      pairs.push(...below(`${left}.block.${j}`, `${right}.resnets.${j}`, VAE_RESNET));
      pairs.push(...below(`${left}.attn.${j}`, `${right}.attentions.${j}`, VAE_ATTENTION));
    }
    pairs.push(same(`${left}.${sampler}.conv`, `${right}.${sampler}rs.0.conv`));
  };
  for (let i = 0; i < levels; i++) level(`encoder.down.${i}`, `encoder.down_blocks.${i}`, layers, 'downsample');
  for (let i = 0; i < decoderLevels; i++) {
    level(`decoder.up.${decoderLevels - 1 - i}`, `decoder.up_blocks.${i}`, decoderLayers, 'upsample');
  }
  return { name: 'vae: original <-> diffusers', pairs, leftOut: [] };
}

/** Key map of diffusers' VAE files of before 2023 (left), whose attention has other names, and today's (right). */
export function oldVaeKeyMap(): KeyMap {
  const pairs = ['encoder', 'decoder'].flatMap((half) => [
    same(half, half),
    ...below(`${half}.mid_block.attentions.0`, `${half}.mid_block.attentions.0`, OLD_ATTENTION),
  ]);
  return {
    name: 'vae: diffusers before 2023 <-> diffusers',
    pairs: [...pairs, same('quant_conv', 'quant_conv'), same('post_quant_conv', 'post_quant_conv')],
    leftOut: [],
  };
}
