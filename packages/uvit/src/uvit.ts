import {
  type Initializer,
  imageProblems,
  isSkipped,
  labelProblems,
  labelRows,
  Module,
  normal,
  Param,
  recallAll,
  recalled,
  throwIf,
  timeProblems,
  zeros,
} from '@mezzotint/core';
import {
  Conv2d,
  Embedding,
  LayerNorm,
  Linear,
  Mlp,
  PatchEmbed,
  SelfAttention,
  silu,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { extraTokens, mlpWidth, type UViTConfig, validateUViTConfig } from './uvit-config.js';

/** What a U-ViT takes beside the noisy image and the time. */
export interface UViTInputs {
  /**
   * Class of each image, int32 `[N]` in [0, classes], `classes` being "no label" where the model has one; for models with
   * classes only.
   */
  readonly labels?: tf.Tensor1D;
  /** Embedded text, `[N, S, context.width]` of S = context.tokens tokens; for models with text only. */
  readonly context?: tf.Tensor3D;
}

/**
 * U-ViT: a transformer with long skip connections that treats all its inputs (time, condition, noisy patches) as tokens.
 * Bao et al. 2022, "All are worth words: a ViT backbone for diffusion models", figure 1. State-dict keys are those of the
 * published checkpoints. Not the U-ViT of "simple diffusion" (Hoogeboom et al. 2023), which is a convolutional UNet with a
 * transformer in the middle: that one is `SimpleDiffusionUViT` of `@mezzotint/unet`.
 */
export class UViT extends Module {
  readonly config: UViTConfig;
  readonly pos_embed: Param;
  readonly patch_embed: PatchEmbed;
  readonly time_embed?: { readonly 0: Linear; readonly 2: Linear };
  readonly label_emb?: Embedding;
  readonly context_embed?: Linear;
  readonly in_blocks: readonly Block[];
  readonly mid_block: Block;
  readonly out_blocks: readonly Block[];
  readonly norm: LayerNorm;
  readonly decoder_pred: Linear;
  readonly final_layer?: Conv2d;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: UViTConfig) {
    super();
    validateUViTConfig(new.target.name, config);
    this.config = config;
    const { imageSize, patchSize, inChannels, width, depth, context, longSkips } = config;
    const tokens = extraTokens(config) + (imageSize / patchSize) ** 2;
    this.pos_embed = new Param([1, tokens, width], { init: smallNormal });
    this.patch_embed = new PatchEmbed(patchSize, inChannels, width);
    if (config.timeMlp) this.time_embed = { 0: dense(width, 4 * width), 2: dense(4 * width, width) };
    const rows = labelRows(config);
    if (rows !== null) this.label_emb = new Embedding(rows, width);
    if (context !== null) this.context_embed = dense(context.width, width);
    this.in_blocks = Array.from({ length: depth / 2 }, () => new Block(config, false));
    this.mid_block = new Block(config, false);
    this.out_blocks = Array.from({ length: depth / 2 }, () => new Block(config, longSkips));
    this.norm = new LayerNorm(width);
    this.decoder_pred = dense(width, patchSize * patchSize * inChannels);
    if (config.finalConv) this.final_layer = new Conv2d(inChannels, inChannels, 3);
  }

  /**
   * The predicted noise (or what the model was trained to predict).
   * @param x noisy images `[N, H, W, inChannels]` of the configuration's size
   * @param time one number an image, `[N]`, on the scale that the model was trained with (published: 999 t in
   *   pixels and U-ViT-L's latents, 1000 t in the other latents, t in (0, 1])
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { labels, context }: UViTInputs = {}): tf.Tensor4D {
    const { imageSize, patchSize } = this.config;
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, labelRows(this.config)),
      ...this.contextProblems(context, x),
    ]);
    const side = imageSize / patchSize;
    return tf.tidy(() => {
      const parts = [...this.conditionTokens(time, labels, context), this.patch_embed.forward(x)];
      let h = tf.add(tf.concat(parts, 1), this.pos_embed.value) as tf.Tensor3D; //  [N, extra + T, D]
      const skips: tf.Tensor3D[] = [];
      for (const block of this.in_blocks) {
        h = block.forward(h);
        skips.push(h);
      }
      h = this.mid_block.forward(h);
      for (const block of this.out_blocks) h = block.forward(h, skips.pop());
      const pixels = this.decoder_pred.forward(this.norm.forward(h)); //            [N, extra + T, p p C]
      const patches = tf.slice(pixels, [0, extraTokens(this.config), 0]); //        [N, T, p p C]
      const image = unpatchify(patches, patchSize, [side, side]); //                [N, H, W, C]
      return this.final_layer?.forward(image) ?? image;
    });
  }

  /** What stands before the patches: label and time, or time and text. */
  private conditionTokens(
    time: tf.Tensor1D,
    labels: tf.Tensor1D | undefined,
    context: tf.Tensor3D | undefined,
  ): tf.Tensor3D[] {
    const sinusoidal = timestepEmbedding(time, this.config.width); //               [N, D]
    const embedded = this.time_embed
      ? this.time_embed[2].forward(silu(this.time_embed[0].forward(sinusoidal)))
      : sinusoidal;
    return [
      ...(labels ? [tf.expandDims(this.label_emb!.forward(labels), 1) as tf.Tensor3D] : []), // [N, 1, D]
      tf.expandDims(embedded, 1) as tf.Tensor3D, //                                 [N, 1, D]
      ...(context ? [this.embeddedText(context)] : []), //                          [N, S, D]
    ];
  }

  /** `[N, S, context.width] -> [N, S, D]`, the same at every step of a run. */
  private embeddedText(context: tf.Tensor3D): tf.Tensor3D {
    const embed = this.context_embed!;
    const [embedded] = recalled(embed, context, () => [embed.forward(context)] as const);
    recallAll(this, context);
    return embedded;
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { imageSize, inChannels, patchSize } = this.config;
    const problems = imageProblems('x', x, inChannels, patchSize);
    if (problems.length > 0 || (x.shape[1] === imageSize && x.shape[2] === imageSize)) return problems;
    return [
      `x: expected ${imageSize} x ${imageSize} pixels, which the positions are for, got ${x.shape[1]} x ${x.shape[2]}`,
    ];
  }

  private contextProblems(context: tf.Tensor | undefined, x: tf.Tensor4D): string[] {
    const wanted = this.config.context;
    if (wanted === null) return context === undefined ? [] : ['context: this model takes no text; leave it out'];
    const expected = [x.shape[0], wanted.tokens, wanted.width];
    if (String(context?.shape) === String(expected)) return [];
    return [`context: expected [${expected}], got ${context === undefined ? 'none' : `[${context.shape}]`}`];
  }
}

/**
 * Transformer block: h = x + attention(norm(x)), then h + mlp(norm(h)); behind the middle, x = Linear([x, skip]) comes first.
 * Section 3.1 (1) and figure 2.
 */
class Block extends Module {
  readonly norm1: LayerNorm;
  readonly attn: SelfAttention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  readonly skip_linear?: Linear;

  constructor(config: UViTConfig, longSkip: boolean) {
    super();
    const { width, heads, qkvBias } = config;
    this.norm1 = new LayerNorm(width);
    this.attn = new SelfAttention(width, heads, { qkvBias, dense });
    this.norm2 = new LayerNorm(width);
    this.mlp = new Mlp(width, mlpWidth(config), { activation: 'erf', dense });
    if (longSkip) this.skip_linear = dense(2 * width, width);
  }

  /** x and, behind the middle, what the block on the other side gave, `[N, T, D] -> [N, T, D]`. */
  forward(x: tf.Tensor3D, skip?: tf.Tensor3D): tf.Tensor3D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const joined = this.skip_linear ? this.skip_linear.forward(tf.concat([x, skip!], 2)) : x;
      const h = tf.add(joined, this.attn.forward(this.norm1.forward(joined))) as tf.Tensor3D;
      return tf.add(h, this.mlp.forward(this.norm2.forward(h)));
    });
  }
}

/** N(0, 0.02^2); the original cuts it off at 100 deviations. */
const smallNormal: Initializer = normal(0.02);

/** A linear layer that starts as in the original: small normal weights, zero biases. */
function dense(inputs: number, outputs: number, bias = true): Linear {
  return new Linear(inputs, outputs, { bias, init: smallNormal, biasInit: zeros });
}
