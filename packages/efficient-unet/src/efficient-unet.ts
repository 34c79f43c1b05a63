import { imageProblems, Module, normal, ones, Param, throwIf, timeProblems, zeros } from '@mezzotint/core';
import {
  attention,
  Conv2d,
  gelu,
  joinHeads,
  LayerNorm,
  Linear,
  layerNorm,
  rmsNorm,
  silu,
  splitHeads,
  upsample2x,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type EfficientUNetConfig, sizeMultiple, validateEfficientUNetConfig } from './efficient-unet-config.js';

/** What an {@link EfficientUNet} takes beside the noisy image and the time. */
export interface EfficientUNetInputs {
  /** States of a text encoder, `[N, S, text.width]`; tokens behind `text.maxTokens` are left out. For models with text. */
  readonly context?: tf.Tensor3D;
  /**
   * 1 for tokens that count, 0 for padding, int32 `[N, S]`. An image whose row is all zeros has no text: the learned null
   * embedding stands in its place, as in training with text dropped.
   */
  readonly contextMask?: tf.Tensor2D;
  /** The low-resolution picture, resized to x's size and noised, `[N, H, W, inChannels]`. For super-resolution models. */
  readonly lowRes?: tf.Tensor4D;
  /** log SNR of the noise in `lowRes`, `[N]`. */
  readonly lowResTime?: tf.Tensor1D;
}

/** Factor of the cosine between queries and keys. */
const similarityScale = 8;
/** The blocks in the middle attend to the text with these, whatever the configuration says; the text pooling has this depth. */
const mid = { heads: 8, headWidth: 64 } as const;
const pooling = { depth: 2, meanTokens: 4, maxTokens: 512, mlpRatio: 4 } as const;

/**
 * The networks of Imagen: its base U-Net and, with `efficient`, the Efficient U-Net of its super-resolution stages. Saharia
 * et al. 2022, "Photorealistic text-to-image diffusion models with deep language understanding", sections 2.4 and 2.5 and
 * appendix B. Structure and state-dict keys are those of imagen-pytorch, since Imagen's own weights were never published.
 */
export class EfficientUNet extends Module {
  readonly config: EfficientUNetConfig;
  readonly init_conv: Conv2d | { readonly convs: readonly Conv2d[] };
  readonly to_time_hiddens: { readonly 0: LearnedFourier; readonly 1: Linear };
  readonly to_time_cond: readonly [Linear];
  readonly to_time_tokens: readonly [Linear];
  readonly to_lowres_time_hiddens?: { readonly 0: LearnedFourier; readonly 1: Linear };
  readonly to_lowres_time_cond?: readonly [Linear];
  readonly to_lowres_time_tokens?: readonly [Linear];
  readonly norm_cond: LayerNorm;
  readonly text_to_cond?: Linear;
  readonly attn_pool?: TextPooling;
  readonly null_text_embed?: Param;
  readonly null_text_hidden?: Param;
  readonly to_text_non_attn_cond?: { readonly 0: LayerNorm; readonly 1: Linear; readonly 3: Linear };
  readonly init_resnet_block?: ResnetBlock;
  readonly downs: readonly Down[];
  readonly mid_block1: ResnetBlock;
  readonly mid_attn?: TransformerBlocks;
  readonly mid_block2: ResnetBlock;
  readonly ups: readonly Up[];
  readonly final_res_block?: ResnetBlock;
  readonly final_conv: Conv2d;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: EfficientUNetConfig) {
    super();
    validateEfficientUNetConfig(new.target.name, config);
    this.config = config;
    const {
      modelChannels: c,
      inChannels,
      conditionWidth,
      timeTokens,
      fourierWidth,
      lowRes,
      text,
      channelMult,
    } = config;
    const timeWidth = 4 * c * (lowRes ? 2 : 1);
    const gated = { timeWidth, gated: config.globalContext };
    this.init_conv = firstConvolution(inChannels * (lowRes ? 2 : 1), c, config.firstKernels);

    const hiddens = () => ({ 0: new LearnedFourier(fourierWidth), 1: new Linear(fourierWidth + 1, timeWidth) });
    this.to_time_hiddens = hiddens();
    this.to_time_cond = [new Linear(timeWidth, timeWidth)];
    this.to_time_tokens = [new Linear(timeWidth, conditionWidth * timeTokens)];
    if (lowRes) {
      this.to_lowres_time_hiddens = hiddens();
      this.to_lowres_time_cond = [new Linear(timeWidth, timeWidth)];
      this.to_lowres_time_tokens = [new Linear(timeWidth, conditionWidth * timeTokens)];
    }
    this.norm_cond = new LayerNorm(conditionWidth);
    if (text !== null) {
      this.text_to_cond = new Linear(text.width, conditionWidth);
      if (text.poolTokens !== null) this.attn_pool = new TextPooling(config, text.poolTokens);
      this.null_text_embed = new Param([1, text.maxTokens, conditionWidth], { init: normal(1) });
      this.null_text_hidden = new Param([1, timeWidth], { init: normal(1) });
      this.to_text_non_attn_cond = {
        0: new LayerNorm(conditionWidth),
        1: new Linear(conditionWidth, timeWidth),
        3: new Linear(timeWidth, timeWidth),
      };
    }

    const widths = [c, ...channelMult.map((factor) => factor * c)];
    const levels = channelMult.map((_, level) => ({ level, finer: widths[level]!, coarser: widths[level + 1]! }));
    if (config.efficient) this.init_resnet_block = new ResnetBlock(c, c, gated);
    this.downs = levels.map((place) => down(config, place, timeWidth));
    const deepest = widths.at(-1)!;
    const middle = { timeWidth, text: { ...mid, width: conditionWidth } };
    this.mid_block1 = new ResnetBlock(deepest, deepest, middle);
    if (config.midAttentionDepth > 0) {
      this.mid_attn = new TransformerBlocks(deepest, config.midAttentionDepth, config, null);
    }
    this.mid_block2 = new ResnetBlock(deepest, deepest, middle);
    this.ups = [...levels].reverse().map((place) => up(config, place, timeWidth));
    // Behind the last level without upsampling (base model) the width is the finest level's.
    const top = config.efficient ? c : widths[1]!;
    const last = top + (config.firstToLast ? c : 0);
    if (config.lastBlock) this.final_res_block = new ResnetBlock(last, c, { timeWidth, gated: true });
    const seen = (config.lastBlock ? c : last) + (lowRes ? inChannels : 0);
    this.final_conv = new Conv2d(seen, config.outChannels, config.lastKernel, { init: zeros });
  }

  /**
   * What the network was trained to predict.
   * @param x noisy images `[N, H, W, inChannels]`
   * @param time log SNR of each image, `[N]`
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: EfficientUNetInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, this.problems(x, time, inputs));
    const { scaleSkips, firstToLast } = this.config;
    return tf.tidy(() => {
      const { lowRes } = inputs;
      const { t, tokens } = this.conditions(time, inputs); //            [N, timeWidth], [N, K, conditionWidth]
      const first = convolveFirst(this.init_conv, lowRes ? tf.concat([x, lowRes], 3) : x); // [N, H, W, C]
      let h = this.init_resnet_block?.forward(first, t) ?? first;
      const skips: tf.Tensor4D[] = [];
      for (const { 0: before, 1: block, 2: blocks, 3: transformer, 4: after } of this.downs) {
        if (before) h = before[1].forward(pixelUnshuffle(h));
        h = block.forward(h, t, tokens);
        for (const resnet of blocks) {
          h = resnet.forward(h, t);
          skips.push(h);
        }
        if (transformer) h = transformer.forward(h, tokens);
        skips.push(h);
        if (after) h = convolveAfter(after, h);
      }
      h = this.mid_block1.forward(h, t, tokens);
      if (this.mid_attn) h = this.mid_attn.forward(h);
      h = this.mid_block2.forward(h, t, tokens);
      // Imagen, appendix B: skip connections are scaled by 1 / sqrt(2).
      const withSkip = (h: tf.Tensor4D) =>
        tf.concat([h, scaleSkips ? tf.mul<tf.Tensor4D>(skips.pop()!, Math.SQRT1_2) : skips.pop()!], 3);
      for (const { 0: block, 1: blocks, 2: transformer, 3: upsample } of this.ups) {
        h = block.forward(withSkip(h), t, tokens);
        for (const resnet of blocks) h = resnet.forward(withSkip(h), t);
        if (transformer) h = transformer.forward(h, tokens);
        if (upsample) h = upsample.forward(h);
      }
      if (firstToLast) h = tf.concat([h, first], 3);
      h = this.final_res_block?.forward(h, t) ?? h;
      return this.final_conv.forward(lowRes ? tf.concat([h, lowRes], 3) : h); // [N, H, W, outChannels]
    });
  }

  /** What is added to the time in every block, and the tokens that cross-attention sees. */
  private conditions(time: tf.Tensor1D, { context, contextMask, lowResTime }: EfficientUNetInputs) {
    const { timeTokens, conditionWidth } = this.config;
    const n = time.shape[0];
    const hidden = silu(this.to_time_hiddens[1].forward(this.to_time_hiddens[0].forward(time))); // [N, timeWidth]
    let t = this.to_time_cond[0].forward(hidden);
    const asTokens = (flat: tf.Tensor2D) => tf.reshape<tf.Rank.R3>(flat, [n, timeTokens, conditionWidth]);
    const tokens = [asTokens(this.to_time_tokens[0].forward(hidden))];
    if (lowResTime) {
      const { 0: fourier, 1: map } = this.to_lowres_time_hiddens!;
      const low = silu(map.forward(fourier.forward(lowResTime)));
      t = tf.add(t, this.to_lowres_time_cond![0].forward(low));
      tokens.push(asTokens(this.to_lowres_time_tokens![0].forward(low)));
    }
    if (context) {
      const text = this.textTokens(context, contextMask!);
      t = tf.add(t, text.hidden);
      tokens.push(text.tokens);
    }
    return { t, tokens: this.norm_cond.forward(tf.concat(tokens, 1)) };
  }

  /** Text tokens, pooled by attention, and the vector that is added to the time. Imagen, section 2.4 and appendix D.3. */
  private textTokens(context: tf.Tensor3D, contextMask: tf.Tensor2D) {
    const { maxTokens } = this.config.text!;
    const count = Math.min(context.shape[1], maxTokens);
    const rest = maxTokens - count;
    const cut = tf.slice(context, [0, 0, 0], [-1, count, -1]);
    const mask = tf.slice(contextMask, [0, 0], [-1, count]);
    const real = tf.cast(
      tf.greater(
        tf.pad(mask, [
          [0, 0],
          [0, rest],
        ]),
        0,
      ),
      'float32',
    ) as tf.Tensor2D; // [N, maxTokens]
    const embedded = tf.pad(this.text_to_cond!.forward(cut), [
      [0, 0],
      [0, rest],
      [0, 0],
    ]); // [N, maxTokens, D]
    const chosen = choose(tf.expandDims(real, 2), embedded, this.null_text_embed!.value) as tf.Tensor3D;
    const tokens = this.attn_pool?.forward(chosen) ?? chosen; //                           [N, K, D]
    const { 0: norm, 1: first, 3: second } = this.to_text_non_attn_cond!;
    const pooled = norm.forward(tf.mean(tokens, 1) as tf.Tensor2D);
    const vector = second.forward(silu(first.forward(pooled))); //                         [N, timeWidth]
    const hasText = tf.max(real, 1, true); //                                              [N, 1]
    return { tokens, hidden: choose(hasText, vector, this.null_text_hidden!.value) as tf.Tensor2D };
  }

  private problems(x: tf.Tensor4D, time: tf.Tensor1D, inputs: EfficientUNetInputs): string[] {
    const { inChannels, lowRes, text } = this.config;
    const n = x.shape[0];
    const wrong = (name: string, tensor: tf.Tensor | undefined, expected: readonly number[] | null): string[] => {
      if (expected === null) return tensor === undefined ? [] : [`${name}: this model takes none; leave it out`];
      const fits = tensor?.shape.length === expected.length && expected.every((d, i) => d < 0 || d === tensor.shape[i]);
      const said = expected.map((d) => (d < 0 ? 'S' : d));
      return fits ? [] : [`${name}: expected [${said}], got ${tensor === undefined ? 'none' : `[${tensor.shape}]`}`];
    };
    const { context, contextMask } = inputs;
    return [
      ...imageProblems('x', x, inChannels, sizeMultiple(this.config)),
      ...timeProblems(time, x),
      ...wrong('lowRes', inputs.lowRes, lowRes ? [n, x.shape[1], x.shape[2], inChannels] : null),
      ...wrong('lowResTime', inputs.lowResTime, lowRes ? [n] : null),
      ...wrong('context', context, text === null ? null : [n, -1, text.width]),
      ...wrong('contextMask', contextMask, text === null ? null : [n, context?.shape[1] ?? -1]),
    ];
  }
}

/** mask a + (1 - mask) b: one of the two, since the mask is 0 or 1. */
function choose(mask: tf.Tensor, a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  return tf.add(tf.mul(mask, a), tf.mul(tf.sub(1, mask), b));
}

// Levels. Fields are numbered as the reference's lists are.

interface Place {
  readonly level: number;
  /** Channels on the finer side of the level, and on the coarser one. */
  readonly finer: number;
  readonly coarser: number;
}

interface Down {
  readonly 0?: { readonly 1: Conv2d };
  readonly 1: ResnetBlock;
  readonly 2: readonly ResnetBlock[];
  readonly 3?: TransformerBlocks;
  readonly 4?: { readonly 1: Conv2d } | { readonly fns: readonly Conv2d[] };
}

interface Up {
  readonly 0: ResnetBlock;
  readonly 1: readonly ResnetBlock[];
  readonly 2?: TransformerBlocks;
  readonly 3?: Upsample;
}

/** The convolutions come behind the downsampling in the Efficient U-Net, before it in the base model. Appendix B. */
function down(config: EfficientUNetConfig, { level, finer, coarser }: Place, timeWidth: number): Down {
  const { efficient, channelMult, globalContext, selfAttention, attentionDepth, conditionWidth } = config;
  const width = efficient ? coarser : finer;
  const isLast = level === channelMult.length - 1;
  const halve = { 1: new Conv2d(4 * finer, coarser, 1) };
  const keep = { fns: [new Conv2d(finer, coarser, 3), new Conv2d(finer, coarser, 1)] };
  return {
    ...(efficient && { 0: halve }),
    1: new ResnetBlock(width, width, { timeWidth, text: textOf(config, level) }),
    2: Array.from(
      { length: config.resBlocks[level]! },
      () => new ResnetBlock(width, width, { timeWidth, gated: globalContext }),
    ),
    ...(selfAttention[level] && { 3: new TransformerBlocks(width, attentionDepth[level]!, config, conditionWidth) }),
    ...(!efficient && { 4: isLast ? keep : halve }),
  };
}

function up(config: EfficientUNetConfig, { level, finer, coarser }: Place, timeWidth: number): Up {
  const { efficient, globalContext, selfAttention, attentionDepth, conditionWidth } = config;
  const skipped = coarser + (efficient ? coarser : finer);
  return {
    0: new ResnetBlock(skipped, coarser, { timeWidth, text: textOf(config, level) }),
    1: Array.from(
      { length: config.resBlocks[level]! },
      () => new ResnetBlock(skipped, coarser, { timeWidth, gated: globalContext }),
    ),
    ...(selfAttention[level] && { 2: new TransformerBlocks(coarser, attentionDepth[level]!, config, conditionWidth) }),
    ...((level > 0 || efficient) && { 3: new Upsample(coarser, finer, config.upsampling) }),
  };
}

function textOf(config: EfficientUNetConfig, level: number): TextAttention | undefined {
  const { heads, headWidth, conditionWidth } = config;
  return config.crossAttention[level] ? { heads, headWidth, width: conditionWidth } : undefined;
}

// Blocks

interface TextAttention {
  readonly heads: number;
  readonly headWidth: number;
  readonly width: number;
}

interface ResnetOptions {
  readonly timeWidth: number;
  readonly text?: TextAttention | undefined;
  readonly gated?: boolean;
}

/** h = conv(silu(norm(x))), attention to the text, conv(silu(norm(h) (1 + scale) + shift)), gated, and x added. */
class ResnetBlock extends Module {
  readonly time_mlp: { readonly 1: Linear };
  readonly cross_attn?: CrossAttention;
  readonly block1: { readonly norm: ChannelNorm; readonly project: Conv2d };
  readonly block2: { readonly norm: ChannelNorm; readonly project: Conv2d };
  readonly gca?: GlobalContext;
  readonly res_conv?: Conv2d;

  constructor(inputs: number, outputs: number, { timeWidth, text, gated = false }: ResnetOptions) {
    super();
    this.time_mlp = { 1: new Linear(timeWidth, 2 * outputs) };
    if (text) this.cross_attn = new CrossAttention(outputs, text);
    this.block1 = { norm: new ChannelNorm(inputs), project: new Conv2d(inputs, outputs, 3) };
    this.block2 = { norm: new ChannelNorm(outputs), project: new Conv2d(outputs, outputs, 3) };
    if (gated) this.gca = new GlobalContext(outputs);
    if (inputs !== outputs) this.res_conv = new Conv2d(inputs, outputs, 1);
  }

  /** x `[N, H, W, inputs]`, t `[N, timeWidth]`, tokens `[N, K, D]` -> `[N, H, W, outputs]`. */
  forward(x: tf.Tensor4D, t: tf.Tensor2D, tokens?: tf.Tensor3D): tf.Tensor4D {
    return tf.tidy(() => {
      const [scale, shift] = tf.split(tf.expandDims(tf.expandDims(this.time_mlp[1].forward(silu(t)), 1), 1), 2, 3);
      let h = this.block1.project.forward(silu(this.block1.norm.forward(x)));
      if (this.cross_attn) {
        const flat = pixels(h); //                                       [N, H W, outputs]
        h = tf.reshape(tf.add(this.cross_attn.forward(flat, tokens!), flat), h.shape);
      }
      const modulated = tf.add(tf.mul(this.block2.norm.forward(h), tf.add(scale!, 1)), shift!) as tf.Tensor4D;
      h = this.block2.project.forward(silu(modulated));
      if (this.gca) h = tf.mul(h, this.gca.forward(h));
      return tf.add<tf.Tensor4D>(h, this.res_conv?.forward(x) ?? x);
    });
  }
}

/** A gate for each channel from an average over the image that attention weighs; squeeze-and-excitation otherwise. */
class GlobalContext extends Module {
  readonly to_k: Conv2d;
  readonly net: { readonly 0: Conv2d; readonly 2: Conv2d };

  constructor(width: number) {
    super();
    const hidden = Math.max(3, Math.floor(width / 2));
    this.to_k = new Conv2d(width, 1, 1);
    this.net = { 0: new Conv2d(width, hidden, 1), 2: new Conv2d(hidden, width, 1) };
  }

  /** x `[N, H, W, C]` -> `[N, 1, 1, C]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    const weights = tf.softmax(tf.reshape(this.to_k.forward(x), [x.shape[0], 1, -1])); // [N, 1, H W]
    const average = tf.matMul(weights, pixels(x)); //                                    [N, 1, C]
    const row = tf.expandDims(average, 1) as tf.Tensor4D; //                             [N, 1, 1, C]
    return tf.sigmoid(this.net[2].forward(silu(this.net[0].forward(row))));
  }
}

/** x / rms(x) gamma over the channels. State: `gamma` `[C, 1, 1]`. */
class ChannelNorm extends Module {
  readonly gamma: Param;

  constructor(width: number) {
    super();
    this.gamma = new Param([width, 1, 1], { init: ones });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return unitRms(x, tf.reshape(this.gamma.value, [-1]));
  }
}

/** x / |x| sqrt(C) scale: root-mean-square normalisation whose epsilon is a length of 1e-12. */
function unitRms<T extends tf.Tensor>(x: T, scale: tf.Tensor | null): T {
  return rmsNorm(x, scale, { epsilon: 1e-24 / x.shape.at(-1)! });
}

/** Layer normalisation with a scale and no shift. State: `g` `[width]`. */
class ScaleNorm extends Module {
  readonly g: Param;

  constructor(width: number) {
    super();
    this.g = new Param([width], { init: ones });
  }

  forward<T extends tf.Tensor>(x: T): T {
    return layerNorm(x, this.g.value, null, { epsilon: 1e-5 });
  }
}

/** softmax(8 cos(q, k)) v, where the cosine's two sides are scaled by learned numbers. */
function cosineAttention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  { qScale, kScale, by }: { readonly qScale: Param; readonly kScale: Param; readonly by: object },
): tf.Tensor4D {
  // unitRms is sqrt(d) too long on both sides.
  const scale = similarityScale / q.shape[3];
  return attention(unitRms(q, qScale.value), unitRms(k, kScale.value), v, { scale, by });
}

/** Attention of pixels to condition tokens and one learned pair of key and value. */
class CrossAttention extends Module {
  readonly norm: ScaleNorm;
  readonly null_kv: Param;
  readonly to_q: Linear;
  readonly to_kv: Linear;
  readonly q_scale: Param;
  readonly k_scale: Param;
  readonly to_out: readonly [Linear, ScaleNorm];
  readonly #heads: number;

  constructor(width: number, { heads, headWidth, width: tokenWidth }: TextAttention) {
    super();
    const inner = heads * headWidth;
    this.norm = new ScaleNorm(width);
    this.null_kv = new Param([2, headWidth], { init: normal(1) });
    this.to_q = new Linear(width, inner, { bias: false });
    this.to_kv = new Linear(tokenWidth, 2 * inner, { bias: false });
    this.q_scale = new Param([headWidth], { init: ones });
    this.k_scale = new Param([headWidth], { init: ones });
    this.to_out = [new Linear(inner, width, { bias: false }), new ScaleNorm(width)];
    this.#heads = heads;
  }

  /** x `[N, T, width]`, tokens `[N, K, D]` -> `[N, T, width]`. */
  forward(x: tf.Tensor3D, tokens: tf.Tensor3D): tf.Tensor3D {
    const heads = this.#heads;
    const n = x.shape[0];
    const [keys, values] = tf.split(this.to_kv.forward(tokens), 2, 2) as [tf.Tensor3D, tf.Tensor3D];
    const [nullKey, nullValue] = tf.split(this.null_kv.value, 2, 0).map((row) => spread(row, [n, heads]));
    const q = splitHeads(this.to_q.forward(this.norm.forward(x)), heads); //  [N, h, T, d]
    const k = tf.concat([nullKey!, splitHeads(keys, heads)], 2); //           [N, h, 1 + K, d]
    const v = tf.concat([nullValue!, splitHeads(values, heads)], 2);
    const out = cosineAttention(q, k, v, { qScale: this.q_scale, kScale: this.k_scale, by: this });
    return this.to_out[1].forward(this.to_out[0].forward(joinHeads(out)));
  }
}

/** Self-attention with one key and value for all heads, which sees condition tokens too where it is given some. */
class SelfAttention extends Module {
  readonly norm: ScaleNorm;
  readonly null_kv: Param;
  readonly to_q: Linear;
  readonly to_kv: Linear;
  readonly q_scale: Param;
  readonly k_scale: Param;
  readonly to_context?: { readonly 0: LayerNorm; readonly 1: Linear };
  readonly to_out: readonly [Linear, ScaleNorm];
  readonly #heads: number;

  constructor(width: number, { heads, headWidth }: EfficientUNetConfig, tokenWidth: number | null) {
    super();
    const inner = heads * headWidth;
    this.norm = new ScaleNorm(width);
    this.null_kv = new Param([2, headWidth], { init: normal(1) });
    this.to_q = new Linear(width, inner, { bias: false });
    this.to_kv = new Linear(width, 2 * headWidth, { bias: false });
    this.q_scale = new Param([headWidth], { init: ones });
    this.k_scale = new Param([headWidth], { init: ones });
    if (tokenWidth !== null) {
      this.to_context = { 0: new LayerNorm(tokenWidth), 1: new Linear(tokenWidth, 2 * headWidth) };
    }
    this.to_out = [new Linear(inner, width, { bias: false }), new ScaleNorm(width)];
    this.#heads = heads;
  }

  /** x `[N, T, width]` -> `[N, T, width]`. */
  forward(x: tf.Tensor3D, tokens?: tf.Tensor3D): tf.Tensor3D {
    const [n, t] = x.shape;
    const h = this.norm.forward(x);
    const q = splitHeads(this.to_q.forward(h), this.#heads); //                [N, h, T, d]
    const d = q.shape[3];
    const own = this.to_kv.forward(h); //                                      [N, T, 2 d]
    const nothing = tf.reshape(spread(tf.reshape(this.null_kv.value, [1, 2 * d]), [n, 1]), [n, 1, 2 * d]);
    const context = tokens && this.to_context ? [this.to_context[1].forward(this.to_context[0].forward(tokens))] : [];
    const [k, v] = tf.split(tf.expandDims(tf.concat([...context, nothing, own], 1), 1), 2, 3) as tf.Tensor4D[];
    // All heads read the same keys, so they are rows of one head.
    const rows = tf.reshape<tf.Rank.R4>(q, [n, 1, this.#heads * t, d]);
    const out = cosineAttention(rows, k!, v!, { qScale: this.q_scale, kScale: this.k_scale, by: this });
    return this.to_out[1].forward(this.to_out[0].forward(joinHeads(tf.reshape(out, q.shape))));
  }
}

/** `[1, d]` for each image and head: `[N, h, 1, d]`. */
function spread(row: tf.Tensor, [n, heads]: readonly [number, number]): tf.Tensor4D {
  return tf.add(tf.zeros([n, heads, 1, row.shape[1]!]), row) as tf.Tensor4D;
}

/** Two linear maps, each behind a norm. State: `0.g`, `1.weight`, `3.g`, `4.weight`. */
class FeedForward extends Module {
  readonly 0: ScaleNorm;
  readonly 1: Linear;
  readonly 3: ScaleNorm;
  readonly 4: Linear;

  constructor(width: number, ratio: number) {
    super();
    const hidden = Math.trunc(width * ratio);
    this[0] = new ScaleNorm(width);
    this[1] = new Linear(width, hidden, { bias: false });
    this[3] = new ScaleNorm(hidden);
    this[4] = new Linear(hidden, width, { bias: false });
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return this[4].forward(this[3].forward(gelu(this[1].forward(this[0].forward(x)), 'erf')));
  }
}

/** Self-attention and feed-forward over the pixels of a level, some times. */
class TransformerBlocks extends Module {
  readonly layers: readonly (readonly [SelfAttention, FeedForward])[];

  constructor(width: number, depth: number, config: EfficientUNetConfig, tokenWidth: number | null) {
    super();
    this.layers = Array.from({ length: depth }, () => [
      new SelfAttention(width, config, tokenWidth),
      new FeedForward(width, config.mlpRatio),
    ]);
  }

  /** x `[N, H, W, C]`, tokens `[N, K, D]` -> `[N, H, W, C]`. */
  forward(x: tf.Tensor4D, tokens?: tf.Tensor3D): tf.Tensor4D {
    return tf.tidy(() => {
      let h = pixels(x);
      for (const [self, mlp] of this.layers) {
        h = tf.add(self.forward(h, tokens), h);
        h = tf.add(mlp.forward(h), h);
      }
      return tf.reshape(h, x.shape);
    });
  }
}

/** A few tokens that say what a text says: learned ones, and ones made of its mean, attend to it. Perceiver resampler. */
class TextPooling extends Module {
  readonly pos_emb: { readonly weight: Param };
  readonly latents: Param;
  readonly to_latents_from_mean_pooled_seq: readonly [ScaleNorm, Linear];
  readonly layers: readonly (readonly [PoolingAttention, FeedForward])[];

  constructor(config: EfficientUNetConfig, tokens: number) {
    super();
    const width = config.conditionWidth;
    this.pos_emb = { weight: new Param([pooling.maxTokens, width], { init: normal(1) }) };
    this.latents = new Param([tokens, width], { init: normal(1) });
    this.to_latents_from_mean_pooled_seq = [new ScaleNorm(width), new Linear(width, pooling.meanTokens * width)];
    this.layers = Array.from({ length: pooling.depth }, () => [
      new PoolingAttention(width, config),
      new FeedForward(width, pooling.mlpRatio),
    ]);
  }

  /** text `[N, S, D]` -> `[N, 4 + tokens, D]`. */
  forward(text: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const [n, s, width] = text.shape;
      const placed = tf.add(text, tf.slice(this.pos_emb.weight.value, 0, s)) as tf.Tensor3D;
      const [norm, map] = this.to_latents_from_mean_pooled_seq;
      const means = map.forward(norm.forward(tf.mean(text, 1) as tf.Tensor2D)); //   [N, 4 D]
      const learned = tf.add(tf.zeros([n, this.latents.shape[0]!, width]), this.latents.value);
      let latents = tf.concat([tf.reshape(means, [n, pooling.meanTokens, width]), learned], 1) as tf.Tensor3D;
      for (const [attend, mlp] of this.layers) {
        latents = tf.add(attend.forward(placed, latents), latents);
        latents = tf.add(mlp.forward(latents), latents);
      }
      return latents;
    });
  }
}

/** Latents that attend to the text and to each other. */
class PoolingAttention extends Module {
  readonly norm: LayerNorm;
  readonly norm_latents: LayerNorm;
  readonly to_q: Linear;
  readonly to_kv: Linear;
  readonly q_scale: Param;
  readonly k_scale: Param;
  readonly to_out: readonly [Linear, LayerNorm];
  readonly #heads: number;

  constructor(width: number, { heads, headWidth }: EfficientUNetConfig) {
    super();
    const inner = heads * headWidth;
    this.norm = new LayerNorm(width);
    this.norm_latents = new LayerNorm(width);
    this.to_q = new Linear(width, inner, { bias: false });
    this.to_kv = new Linear(width, 2 * inner, { bias: false });
    this.q_scale = new Param([headWidth], { init: ones });
    this.k_scale = new Param([headWidth], { init: ones });
    this.to_out = [new Linear(inner, width, { bias: false }), new LayerNorm(width)];
    this.#heads = heads;
  }

  forward(text: tf.Tensor3D, latents: tf.Tensor3D): tf.Tensor3D {
    const asking = this.norm_latents.forward(latents);
    const q = splitHeads(this.to_q.forward(asking), this.#heads);
    const [k, v] = tf
      .split(this.to_kv.forward(tf.concat([this.norm.forward(text), asking], 1)), 2, 2)
      .map((half) => splitHeads(half as tf.Tensor3D, this.#heads));
    const out = cosineAttention(q, k!, v!, { qScale: this.q_scale, kScale: this.k_scale, by: this });
    return this.to_out[1].forward(this.to_out[0].forward(joinHeads(out)));
  }
}

// Embedding and resampling

/** x, sin(2 pi w x), cos(2 pi w x) of learned frequencies w. State: `weights` `[width / 2]`. */
class LearnedFourier extends Module {
  readonly weights: Param;

  constructor(width: number) {
    super();
    this.weights = new Param([width / 2], { init: normal(1) });
  }

  /** `[N]` -> `[N, 1 + width]`. */
  forward(x: tf.Tensor1D): tf.Tensor2D {
    const column = tf.expandDims(x, 1) as tf.Tensor2D;
    const angles = tf.mul(tf.mul(column, this.weights.value), 2 * Math.PI);
    return tf.concat([column, tf.sin(angles), tf.cos(angles)], 1) as tf.Tensor2D;
  }
}

/** Convolutions with several kernels side by side: half the channels for the smallest, a quarter for the next, the rest. */
function firstConvolution(inputs: number, outputs: number, kernels: readonly number[]): EfficientUNet['init_conv'] {
  if (kernels.length === 1) return new Conv2d(inputs, outputs, kernels[0]!);
  const shares = kernels.slice(1).map((_, i) => Math.trunc(outputs / 2 ** (i + 1)));
  const widths = [...shares, outputs - shares.reduce((sum, width) => sum + width, 0)];
  return { convs: kernels.map((kernel, i) => new Conv2d(inputs, widths[i]!, kernel)) };
}

function convolveFirst(first: EfficientUNet['init_conv'], x: tf.Tensor4D): tf.Tensor4D {
  if (!('convs' in first)) return first.forward(x);
  return tf.concat(
    first.convs.map((conv) => conv.forward(x)),
    3,
  );
}

function convolveAfter(after: NonNullable<Down[4]>, h: tf.Tensor4D): tf.Tensor4D {
  if (!('fns' in after)) return after[1].forward(pixelUnshuffle(h));
  return tf.addN(after.fns.map((conv) => conv.forward(h)));
}

/** Twice the pixels a side. State: `net.0` (pixel shuffle) or `1` (nearest neighbours). */
class Upsample extends Module {
  readonly net?: { readonly 0: Conv2d };
  readonly 1?: Conv2d;

  constructor(inputs: number, outputs: number, kind: EfficientUNetConfig['upsampling']) {
    super();
    if (kind === 'pixel-shuffle') this.net = { 0: new Conv2d(inputs, 4 * outputs, 1) };
    else this[1] = new Conv2d(inputs, outputs, 3);
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return this.net ? pixelShuffle(silu(this.net[0].forward(x))) : this[1]!.forward(upsample2x(x));
  }
}

/** `[N, H, W, C]` -> `[N, H/2, W/2, 4 C]`; channel c of pixel (i, j) of a 2x2 block becomes channel 4 c + 2 i + j. */
function pixelUnshuffle(x: tf.Tensor4D): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const blocks = tf.reshape(x, [n, h / 2, 2, w / 2, 2, c]);
  return tf.reshape(tf.transpose(blocks, [0, 1, 3, 5, 2, 4]), [n, h / 2, w / 2, 4 * c]);
}

/** The inverse. */
function pixelShuffle(x: tf.Tensor4D): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const blocks = tf.reshape(x, [n, h, w, c / 4, 2, 2]);
  return tf.reshape(tf.transpose(blocks, [0, 1, 4, 2, 5, 3]), [n, 2 * h, 2 * w, c / 4]);
}

/** `[N, H, W, C]` -> `[N, H W, C]`. */
function pixels(x: tf.Tensor4D): tf.Tensor3D {
  return tf.reshape(x, [x.shape[0], x.shape[1] * x.shape[2], x.shape[3]]);
}
