import { Module, normal, Param } from '@mezzotint/core';
import {
  Embedding,
  LayerNorm,
  Linear,
  modulate,
  PatchEmbed,
  RmsNorm,
  silu,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import { Mamba } from '@mezzotint/zigma';
import * as tf from '@tensorflow/tfjs-core';

/** The reference's constructor arguments. */
export interface DiSConfig {
  readonly img_size: number;
  readonly patch_size: number;
  readonly channels: number;
  readonly embed_dim: number;
  readonly depth: number;
  readonly num_classes: number;
  readonly learn_sigma: boolean;
}

/**
 * DiS (Fei et al. 2024), as a check of ZigMa's bidirectional mixer by another model's numbers; it is no model of ours. Written from
 * the equations: tokens of class, time and patches; h = Linear([h, skip]) behind the middle; r = r + h; h = Mamba(norm(r)).
 */
export class DiS extends Module {
  readonly config: DiSConfig;
  readonly pos_embed: Param;
  readonly patch_embed: PatchEmbed;
  readonly time_embed: { readonly 0: Linear; readonly 2: Linear };
  readonly label_emb: { readonly embedding_table: Embedding };
  readonly in_blocks: readonly Block[];
  readonly mid_block: Block;
  readonly out_blocks: readonly Block[];
  readonly norm_f: RmsNorm;
  readonly final_layer: {
    readonly norm_final: LayerNorm;
    readonly adaLN_modulation: { readonly 1: Linear };
    readonly linear: Linear;
  };

  constructor(config: DiSConfig) {
    super();
    this.config = config;
    const { img_size, patch_size: p, channels, embed_dim: width, depth, num_classes, learn_sigma } = config;
    this.pos_embed = new Param([1, 2 + (img_size / p) ** 2, width], { init: normal(0.02) });
    this.patch_embed = new PatchEmbed(p, channels, width);
    this.time_embed = { 0: new Linear(width, 4 * width), 2: new Linear(4 * width, width) };
    this.label_emb = { embedding_table: new Embedding(num_classes + 1, width) };
    const blocks = (skips: boolean) => Array.from({ length: depth / 2 }, () => new Block(width, depth, skips));
    this.in_blocks = blocks(false);
    this.mid_block = new Block(width, depth, false);
    this.out_blocks = blocks(true);
    this.norm_f = new RmsNorm(width, { epsilon: 1e-5 });
    this.final_layer = {
      norm_final: new LayerNorm(width, { affine: false, epsilon: 1e-6 }),
      adaLN_modulation: { 1: new Linear(width, 2 * width) },
      linear: new Linear(width, p * p * channels * (learn_sigma ? 2 : 1)),
    };
  }

  /** x `[N, H, W, C]`, time `[N]` in 0..999, labels `[N]`, the last one null. */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, labels: tf.Tensor1D): tf.Tensor4D {
    const { img_size, patch_size, embed_dim } = this.config;
    return tf.tidy(() => {
      const t = this.time_embed[2].forward(silu(this.time_embed[0].forward(timestepEmbedding(time, embed_dim))));
      const y = this.label_emb.embedding_table.forward(labels); //                    [N, D]
      const tokens = tf.concat([tf.expandDims(y, 1), tf.expandDims(t, 1), this.patch_embed.forward(x)], 1);
      let h = tf.add(tokens, this.pos_embed.value) as tf.Tensor3D; //                 [N, 2 + T, D]
      let r = tf.zerosLike(h);
      const skips: tf.Tensor3D[] = [];
      for (const block of this.in_blocks) {
        [h, r] = block.forward(h, r);
        skips.push(h);
      }
      [h, r] = this.mid_block.forward(h, r);
      for (const block of this.out_blocks) [h, r] = block.forward(h, r, skips.pop());
      const { norm_final, adaLN_modulation, linear } = this.final_layer;
      const condition = tf.expandDims(adaLN_modulation[1].forward(silu(tf.add(t, y) as tf.Tensor2D)), 1);
      const [shift, scale] = tf.split(condition, 2, 2) as [tf.Tensor3D, tf.Tensor3D];
      const normed = this.norm_f.forward(tf.add(r, h) as tf.Tensor3D);
      const pixels = linear.forward(modulate(norm_final.forward(normed), shift, scale));
      const side = img_size / patch_size;
      return unpatchify(tf.slice(pixels, [0, 2, 0]), patch_size, [side, side]);
    });
  }
}

class Block extends Module {
  readonly norm: RmsNorm;
  readonly mixer: Mamba;
  readonly skip_linear?: Linear;

  constructor(width: number, depth: number, skips: boolean) {
    super();
    this.norm = new RmsNorm(width, { epsilon: 1e-5 });
    this.mixer = new Mamba({ width, depth, expansion: 2, states: 16, taps: 4, scan: 'bidirectional' });
    if (skips) this.skip_linear = new Linear(2 * width, width);
  }

  forward(before: tf.Tensor3D, r: tf.Tensor3D, skip?: tf.Tensor3D): [tf.Tensor3D, tf.Tensor3D] {
    const h = this.skip_linear ? this.skip_linear.forward(tf.concat([before, skip!], 2)) : before;
    const sum = tf.add(r, h) as tf.Tensor3D;
    return [this.mixer.forward(this.norm.forward(sum)), sum];
  }
}
