import {
  blockBoundary,
  type Initializer,
  imageProblems,
  isSkipped,
  Module,
  normal,
  Param,
  positionTable,
  recallAll,
  recalled,
  throwIf,
  timeProblems,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  joinHeads,
  LayerNorm,
  Linear,
  Mlp,
  modulate,
  PatchEmbed,
  RmsNorm,
  silu,
  splitHeads,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type MMDiTConfig, mmditMlpWidth, validateMMDiTConfig } from './mmdit-config.js';
import { textProblems } from './text-problems.js';

/** What MM-DiT takes beside the noisy latent image and the time. */
export interface MMDiTInputs {
  /** Text tokens `[N, S, contextWidth]`: CLIP's two encoders side by side, padded with zeros, and T5's behind them. */
  readonly context: tf.Tensor3D;
  /** Pooled text `[N, pooledWidth]`: CLIP-L's and CLIP-G's side by side. */
  readonly pooled: tf.Tensor2D;
}

/** Numbers in the sinusoidal embedding of a time. */
const timeFeatures = 256;

/** Epsilon of all norms. */
const epsilon = 1e-6;

/**
 * MM-DiT: a transformer with separate weights for text tokens and image patches that attend to each other, conditioned on
 * time and pooled text by adaLN-Zero. Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image
 * synthesis" (Stable Diffusion 3), figure 2; with RMS-normalised q and k and second attentions it is Stable Diffusion
 * 3.5's MM-DiT-X. State-dict keys are those of the published single files below `model.diffusion_model.`.
 */
export class MMDiT extends Module {
  readonly config: MMDiTConfig;
  readonly pos_embed: Param;
  readonly x_embedder: PatchEmbed;
  readonly t_embedder: VectorEmbedder;
  readonly y_embedder: VectorEmbedder;
  readonly context_embedder: Linear;
  readonly joint_blocks: readonly JointBlock[];
  readonly final_layer: FinalLayer;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: MMDiTConfig) {
    super();
    validateMMDiTConfig(new.target.name, config);
    this.config = config;
    const { width, patchSize, inChannels, positionGrid: side, positionBase: base } = config;
    const positions: Initializer = () => positionTable([side, side], width, { base: [base, base] });
    this.pos_embed = new Param([1, side * side, width], { init: positions, buffer: true });
    this.x_embedder = new PatchEmbed(patchSize, inChannels, width, {
      init: xavierUniform(patchSize * patchSize * inChannels, width),
      biasInit: zeros,
    });
    this.t_embedder = new VectorEmbedder(timeFeatures, width);
    this.y_embedder = new VectorEmbedder(config.pooledWidth, width);
    this.context_embedder = dense(config.contextWidth, width);
    this.joint_blocks = Array.from({ length: config.depth }, (_, n) => new JointBlock(config, n));
    this.final_layer = new FinalLayer(config);
  }

  /**
   * The predicted velocity dx/dsigma = noise - image of a rectified flow.
   * @param x noisy latent images `[N, H, W, inChannels]`, at most positionGrid patches a side
   * @param time one number an image, `[N]`, 1000 sigma
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { context, pooled }: MMDiTInputs): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(time, x),
      ...textProblems(context, pooled, x, this.config),
    ]);
    const p = this.config.patchSize;
    const grid = [x.shape[1] / p, x.shape[2] / p] as const;
    return tf.tidy(() => {
      const [text] = recalled(this.y_embedder, pooled, () => [this.y_embedder.forward(pooled)] as const); // [N, D]
      const [tokens] = recalled(
        this.context_embedder,
        context,
        () => [this.context_embedder.forward(context)] as const,
      );
      recallAll(this, context);
      const times = this.t_embedder.forward(timestepEmbedding(time, timeFeatures)); //   [N, D]
      const y = silu(tf.add(times, text) as tf.Tensor2D); //                             [N, D]
      let c: tf.Tensor3D | undefined = tf.clone(tokens); //                              [N, S, D]
      let h = tf.add(this.x_embedder.forward(x), this.positions(grid)) as tf.Tensor3D; // [N, T, D]
      for (const block of this.joint_blocks) {
        const given = [h, c!] as const;
        [h, c] = block.forward(...given, y);
        if (blockBoundary(block)) tf.dispose([...given]);
      }
      return unpatchify(this.final_layer.forward(h, y), p, grid); //                     [N, H, W, outChannels]
    });
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { inChannels, patchSize, positionGrid } = this.config;
    const problems = imageProblems('x', x, inChannels, patchSize);
    const most = positionGrid * patchSize;
    if (problems.length > 0 || (x.shape[1] <= most && x.shape[2] <= most)) return problems;
    return [
      `x: expected at most ${most} x ${most} latent pixels, which there are positions for, got ${x.shape[1]} x ${x.shape[2]}`,
    ];
  }

  /** Positions of the patches, cut out of the middle: `[1, T, D]`. */
  private positions([rows, columns]: readonly [number, number]): tf.Tensor {
    const { positionGrid: side, width } = this.config;
    const [top, left] = [Math.floor((side - rows) / 2), Math.floor((side - columns) / 2)];
    const all = tf.reshape(this.pos_embed.value, [side, side, width]);
    return tf.reshape(tf.slice(all, [top, left, 0], [rows, columns, width]), [1, rows * columns, width]);
  }
}

/** Two linear layers with SiLU between, for sinusoidal times and for pooled text. `[N, in] -> [N, D]`. */
class VectorEmbedder extends Module {
  readonly mlp: { readonly 0: Linear; readonly 2: Linear };

  constructor(inputs: number, width: number) {
    super();
    const options = { init: normal(0.02), biasInit: zeros };
    this.mlp = { 0: new Linear(inputs, width, options), 2: new Linear(width, width, options) };
  }

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => this.mlp[2].forward(silu(this.mlp[0].forward(x))));
  }
}

/**
 * One block of figure 2b: text and image each make q, k and v of their modulated tokens, attend together, and go on alone.
 * Of the last block's text only keys and values are used, so its stream ends there ("pre-only").
 */
class JointBlock extends Module {
  readonly context_block: Stream;
  readonly x_block: Stream;

  constructor(config: MMDiTConfig, index: number) {
    super();
    this.context_block = new Stream(config, index === config.depth - 1 ? 'pre-only' : 'whole');
    this.x_block = new Stream(config, config.dualAttentionLayers.includes(index) ? 'dual' : 'whole');
  }

  /** x `[N, T, D]`, context `[N, S, D]`, condition `[N, D]` -> x and context, which ends with the last block. */
  forward(x: tf.Tensor3D, context: tf.Tensor3D, condition: tf.Tensor2D): [tf.Tensor3D, tf.Tensor3D | undefined] {
    if (isSkipped(this)) return [tf.clone(x), tf.clone(context)];
    return tf.tidy(() => {
      const text = this.context_block.before(context, condition);
      const image = this.x_block.before(x, condition);
      const both = ([a, b]: readonly [tf.Tensor4D, tf.Tensor4D]) => tf.concat([a, b], 2); // [N, h, S + T, d]
      const attended = joinHeads(
        attention(both([text.q, image.q]), both([text.k, image.k]), both([text.v, image.v]), { by: this.x_block.attn }),
      ); //                                                                              [N, S + T, D]
      const [ofText, ofImage] = tf.split(attended, [context.shape[1], x.shape[1]], 1) as [tf.Tensor3D, tf.Tensor3D];
      const c = this.context_block.kind === 'pre-only' ? undefined : this.context_block.after(context, ofText, text);
      return [this.x_block.after(x, ofImage, image), c];
    });
  }
}

/** What a stream's tokens bring to the joint attention, and what is kept for the way behind it. */
interface Before {
  readonly q: tf.Tensor4D;
  readonly k: tf.Tensor4D;
  readonly v: tf.Tensor4D;
  /** Shifts, scales and gates, `[N, 1, D]` each. */
  readonly parts: readonly Part[];
  readonly normed: tf.Tensor3D;
}

/**
 * The half of a joint block that one modality has: h = x + gate attended, then h + gate mlp(modulate(norm(h))). `dual`:
 * also + gate attn2(modulate(norm(x))), an attention of the stream to itself (MM-DiT-X).
 */
class Stream extends Module {
  readonly kind: 'whole' | 'dual' | 'pre-only';
  readonly norm1: LayerNorm;
  readonly attn: Attention;
  readonly attn2: Attention | null;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp | null;
  readonly adaLN_modulation: { readonly 1: Linear };

  constructor(config: MMDiTConfig, kind: Stream['kind']) {
    super();
    const { width } = config;
    this.kind = kind;
    this.norm1 = new LayerNorm(width, { affine: false, epsilon });
    this.attn = new Attention(config, kind !== 'pre-only');
    this.attn2 = kind === 'dual' ? new Attention(config, true) : null;
    this.norm2 = new LayerNorm(width, { affine: false, epsilon });
    this.mlp = kind === 'pre-only' ? null : new Mlp(width, mmditMlpWidth(config), { activation: 'tanh', dense });
    this.adaLN_modulation = { 1: new Linear(width, modulations[kind] * width, { init: zeros }) };
  }

  /** x `[N, S, D]`, condition `[N, D]` -> q, k, v `[N, h, S, d]`. */
  before(x: tf.Tensor3D, condition: tf.Tensor2D): Before {
    const parts = perImage(this.adaLN_modulation[1].forward(condition), modulations[this.kind]);
    const normed = this.norm1.forward(x);
    return { ...this.attn.qkvOf(modulate(normed, parts[0]!, parts[1]!)), parts, normed };
  }

  /** x and what it got from the joint attention, both `[N, S, D]` -> `[N, S, D]`. */
  after(x: tf.Tensor3D, attended: tf.Tensor3D, { parts, normed }: Before): tf.Tensor3D {
    const [, , gate1, shift2, scale2, gate2, shift3, scale3, gate3] = parts as [
      Part,
      Part,
      Part,
      Part,
      Part,
      Part,
      Part,
      Part,
      Part,
    ];
    let h = tf.add(x, tf.mul(gate1, this.attn.proj!.forward(attended))) as tf.Tensor3D;
    if (this.attn2 !== null) h = tf.add(h, tf.mul(gate3, this.attn2.forward(modulate(normed, shift3, scale3))));
    return tf.add(h, tf.mul(gate2, this.mlp!.forward(modulate(this.norm2.forward(h), shift2, scale2))));
  }
}

/** Shifts, scales and gates of a stream. `dual` has three more behind the usual six. */
const modulations = { whole: 6, dual: 9, 'pre-only': 2 } as const;

/** q, k and v in one map, normalised by head; and the map behind the attention where the stream goes on. */
class Attention extends Module {
  readonly qkv: Linear;
  readonly ln_q: RmsNorm | null;
  readonly ln_k: RmsNorm | null;
  readonly proj: Linear | null;
  readonly heads: number;
  readonly qkNorm: MMDiTConfig['qkNorm'];

  constructor({ width, heads, qkNorm }: MMDiTConfig, goesOn: boolean) {
    super();
    this.heads = heads;
    this.qkNorm = qkNorm;
    this.qkv = dense(width, 3 * width);
    this.ln_q = qkNorm === 'rms' ? new RmsNorm(width / heads, { epsilon }) : null;
    this.ln_k = qkNorm === 'rms' ? new RmsNorm(width / heads, { epsilon }) : null;
    this.proj = goesOn ? dense(width, width) : null;
  }

  /** x `[N, S, D]` -> q, k, v `[N, h, S, d]`. */
  qkvOf(x: tf.Tensor3D): Pick<Before, 'q' | 'k' | 'v'> {
    const parts = tf.split(this.qkv.forward(x), 3, 2) as tf.Tensor3D[]; //                3 x [N, S, D]
    const [q, k, v] = parts.map((part) => splitHeads(part, this.heads)) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    return { q: this.normalised(q, this.ln_q), k: this.normalised(k, this.ln_k), v };
  }

  /** The stream's attention to itself. `[N, S, D] -> [N, S, D]`. */
  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const { q, k, v } = this.qkvOf(x);
      return this.proj!.forward(joinHeads(attention(q, k, v, { by: this })));
    });
  }

  private normalised(x: tf.Tensor4D, rms: RmsNorm | null): tf.Tensor4D {
    if (rms !== null) return rms.forward(x);
    return this.qkNorm === 'l2' ? tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x), 3, true)), 1e-12)) : x;
  }
}

/** Modulated norm and a linear map to the pixels of each patch; both start at zero. `[N, T, D] -> [N, T, p p C]`. */
class FinalLayer extends Module {
  readonly norm_final: LayerNorm;
  readonly linear: Linear;
  readonly adaLN_modulation: { readonly 1: Linear };

  constructor({ width, patchSize, outChannels }: MMDiTConfig) {
    super();
    this.norm_final = new LayerNorm(width, { affine: false, epsilon });
    this.linear = new Linear(width, patchSize * patchSize * outChannels, { init: zeros });
    this.adaLN_modulation = { 1: new Linear(width, 2 * width, { init: zeros }) };
  }

  forward(x: tf.Tensor3D, condition: tf.Tensor2D): tf.Tensor3D {
    return tf.tidy(() => {
      const [shift, scale] = perImage(this.adaLN_modulation[1].forward(condition), 2) as [Part, Part]; // [N, 1, D]
      return this.linear.forward(modulate(this.norm_final.forward(x), shift, scale));
    });
  }
}

/** One number a channel for all tokens of an image, `[N, 1, D]`. */
type Part = tf.Tensor3D;

/** `[N, parts D]` -> parts of `[N, 1, D]`. */
function perImage(y: tf.Tensor2D, parts: number): Part[] {
  return tf.split(tf.expandDims(y, 1) as Part, parts, 2);
}

/** A linear layer with a Xavier-uniform weight and a zero bias, as in DiT. */
function dense(inputs: number, outputs: number): Linear {
  return new Linear(inputs, outputs, { init: xavierUniform(inputs, outputs), biasInit: zeros });
}
