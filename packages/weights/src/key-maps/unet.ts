import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, type Side, same } from './key-map.js';

/** A residual block: `input_blocks.1.0` <-> `down_blocks.0.resnets.0`. */
const RESNET: readonly KeyPair[] = [
  same('in_layers.0', 'norm1'),
  same('in_layers.2', 'conv1'),
  same('emb_layers.1', 'time_emb_proj'),
  same('out_layers.0', 'norm2'),
  same('out_layers.3', 'conv2'),
  same('skip_connection', 'conv_shortcut'),
];

/** What is there once. */
const ENDS: readonly KeyPair[] = [
  same('input_blocks.0.0', 'conv_in'),
  same('time_embed.0', 'time_embedding.linear_1'),
  same('time_embed.2', 'time_embedding.linear_2'),
  ...below('middle_block.0', 'mid_block.resnets.0', RESNET),
  same('middle_block.1', 'mid_block.attentions.0'),
  ...below('middle_block.2', 'mid_block.resnets.1', RESNET),
  same('out.0', 'conv_norm_out'),
  same('out.2', 'conv_out'),
];

/** SDXL's pooled text and sizes, and the noise level of the x4 upscaler (a table). */
const CONDITIONS: readonly KeyPair[] = [
  same('label_emb.0.0', 'add_embedding.linear_1'),
  same('label_emb.0.2', 'add_embedding.linear_2'),
  same('label_emb', 'class_embedding'),
];

/** UnCLIP's vector: the original has it where SDXL has its own. */
const VECTOR: readonly KeyPair[] = [
  same('label_emb.0.0', 'class_embedding.linear_1'),
  same('label_emb.0.2', 'class_embedding.linear_2'),
];

interface UNetPlan {
  readonly levels: number;
  /** Residual blocks of a level on the way down; one more on the way up. */
  readonly layers: number;
  /** Whether the up blocks have attention: their upsampler then comes third, else second. */
  readonly upAttention: readonly boolean[];
}

/**
 * Key map of the Stable Diffusion UNets (1.x, 2.x, XL, refiner): `input_blocks.N.M` of the original files (left) and
 * `down_blocks.I.resnets.J` of diffusers (right). Block numbers follow from the number of levels and layers, which are
 * read off the names at hand. Inside the transformers both layouts use the same names.
 */
export function unetKeyMap(names: Iterable<string>, from: Side): KeyMap {
  const tree = new NameTree(names);
  const { levels, layers, upAttention } = from === 'left' ? planFromOriginal(tree) : planFromDiffusers(tree);
  // The original files of unCLIP, made from Stable Diffusion 2, have transformers at full resolution; SDXL and its refiner none.
  const isUnclip = tree.has('class_embedding.linear_1') || (tree.has('label_emb.0') && tree.has('input_blocks.1.1'));
  const pairs = [...ENDS, ...(isUnclip ? VECTOR : CONDITIONS)];
  for (let level = 0; level < levels; level++) {
    for (let j = 0; j < layers; j++) {
      const block = `input_blocks.${1 + level * (layers + 1) + j}`;
      pairs.push(...below(`${block}.0`, `down_blocks.${level}.resnets.${j}`, RESNET));
      pairs.push(same(`${block}.1`, `down_blocks.${level}.attentions.${j}`));
    }
    if (level < levels - 1) {
      pairs.push(same(`input_blocks.${(level + 1) * (layers + 1)}.0.op`, `down_blocks.${level}.downsamplers.0.conv`));
    }
    for (let j = 0; j <= layers; j++) {
      const block = `output_blocks.${level * (layers + 1) + j}`;
      pairs.push(...below(`${block}.0`, `up_blocks.${level}.resnets.${j}`, RESNET));
      if (upAttention[level]) pairs.push(same(`${block}.1`, `up_blocks.${level}.attentions.${j}`));
    }
    if (level < levels - 1) {
      const last = `output_blocks.${(level + 1) * (layers + 1) - 1}.${upAttention[level] ? 2 : 1}`;
      pairs.push(same(`${last}.conv`, `up_blocks.${level}.upsamplers.0.conv`));
    }
  }
  return { name: 'unet: original <-> diffusers', pairs, leftOut: [] };
}

function planFromDiffusers(tree: NameTree): UNetPlan {
  const levels = tree.count('down_blocks');
  return {
    levels,
    layers: tree.count('down_blocks.0.resnets'),
    upAttention: Array.from({ length: levels }, (_, i) => tree.has(`up_blocks.${i}.attentions`)),
  };
}

function planFromOriginal(tree: NameTree): UNetPlan {
  const blocks = tree.count('input_blocks');
  const down = Array.from({ length: blocks }, (_, n) => n).filter((n) => tree.has(`input_blocks.${n}.0.op`));
  const layers = (down[0] ?? blocks) - 1;
  const levels = down.length + 1;
  return {
    levels,
    layers,
    upAttention: Array.from({ length: levels }, (_, i) => tree.has(`output_blocks.${i * (layers + 1)}.1.norm`)),
  };
}
