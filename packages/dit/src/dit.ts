import {
  type Initializer,
  imageProblems,
  isSkipped,
  labelProblems,
  labelRows,
  Module,
  normal,
  Param,
  positionTable,
  throwIf,
  timeProblems,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  Embedding,
  LayerNorm,
  Linear,
  Mlp,
  modulate,
  PatchEmbed,
  SelfAttention,
  silu,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type DiTConfig, mlpWidth, validateDiTConfig } from './dit-config.js';

/** What DiT takes beside the noisy image and the time. */
export interface DiTInputs {
  /**
   * Class of each image, int32 `[N]` in [0, classes), or `classes` for "no label" where there is a null label; given if and
   * only if the model is class-conditional.
   */
  readonly labels?: tf.Tensor1D;
}

/** Numbers in the sinusoidal embedding of a time. */
const sinusoidalWidth = 256;

/**
 * DiT: a transformer over the patches of a (latent) image, conditioned on time and class by adaLN-Zero. Peebles and Xie
 * 2022, "Scalable diffusion models with transformers". State-dict keys are those of the published checkpoints.
 */
export class DiT extends Module {
  readonly config: DiTConfig;
  readonly pos_embed: Param;
  readonly x_embedder: PatchEmbed;
  readonly t_embedder?: TimeEmbedder;
  readonly y_embedder?: LabelEmbedder;
  readonly blocks: readonly Block[];
  readonly final_layer: FinalLayer;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: DiTConfig) {
    super();
    validateDiTConfig(new.target.name, config);
    this.config = config;
    const { width, patchSize, inChannels } = config;
    const rows = labelRows(config);
    const side = gridSide(config);
    const positions: Initializer = () => positionTable([side, side], width);
    this.pos_embed = new Param([1, side * side, width], { init: positions, trainable: false });
    this.x_embedder = new PatchEmbed(patchSize, inChannels, width, {
      init: xavierUniform(patchSize * patchSize * inChannels, width),
      biasInit: zeros,
    });
    if (config.embedders === 'shared') {
      this.t_embedder = new TimeEmbedder(width);
      if (rows !== null) this.y_embedder = new LabelEmbedder(rows, width);
    }
    this.blocks = Array.from({ length: config.depth }, () => new Block(config));
    this.final_layer = new FinalLayer(config);
  }

  /**
   * The predicted noise, and behind it, when the variance is learned, its share between the two bounds (Improved DDPM).
   * @param x noisy images `[N, H, W, inChannels]`, of the configuration's size unless it takes others
   * @param time one number an image, `[N]`, on the scale that the model was trained with (published: 0..999)
   * @returns `[N, H, W, outChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { labels }: DiTInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, labelRows(this.config)),
    ]);
    const p = this.config.patchSize;
    const grid = [x.shape[1] / p, x.shape[2] / p] as const;
    return tf.tidy(() => {
      const sinusoidal = timestepEmbedding(time, sinusoidalWidth, { downscaleShift: this.config.frequencyShift }); // [N, 256]
      const conditions = this.conditions(sinusoidal, labels); //                            depth x [N, D]
      let h = tf.add(this.x_embedder.forward(x), this.positions(grid)) as tf.Tensor3D; // [N, T, D]
      this.blocks.forEach((block, i) => {
        h = block.forward(h, conditions[i]!); //                                      [N, T, D]
      });
      const patches = this.final_layer.forward(h, conditions[0]!); //                 [N, T, p p outChannels]
      return unpatchify(patches, p, grid); //                                         [N, H, W, outChannels]
    });
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { imageSize, inChannels, patchSize, otherSizes } = this.config;
    const problems = imageProblems('x', x, inChannels, patchSize);
    const other = x.shape[1] !== imageSize || x.shape[2] !== imageSize;
    if (problems.length > 0 || !other || otherSizes === 'stretched') return problems;
    return [
      `x: expected ${imageSize} x ${imageSize} pixels, which the positions are for, got ${x.shape[1]} x ${x.shape[2]}`,
    ];
  }

  /** What modulates each block: silu(embedded time + embedded label), which every adaLN begins with. Section 3.2. */
  private conditions(sinusoidal: tf.Tensor2D, labels: tf.Tensor1D | undefined): readonly tf.Tensor2D[] {
    const of = ({ t_embedder, y_embedder }: Embedders): tf.Tensor2D => {
      const time = t_embedder!.forward(sinusoidal);
      return silu(labels === undefined ? time : tf.add(time, y_embedder!.forward(labels)));
    };
    if (this.config.embedders === 'per-block') return this.blocks.map(of);
    const shared = of(this);
    return this.blocks.map(() => shared);
  }

  /** Positions of the patches `[1, T, D]`. */
  private positions([rows, columns]: readonly [number, number]): tf.Tensor {
    const side = gridSide(this.config);
    if (rows === side && columns === side) return this.pos_embed.value;
    const { width } = this.config;
    return tf.tensor(positionTable([rows, columns], width, { base: [side, side] }), [1, rows * columns, width]);
  }
}

/** Where embedders of time and label are: in the model, or in each block. */
interface Embedders {
  readonly t_embedder?: TimeEmbedder;
  readonly y_embedder?: LabelEmbedder;
}

/** Two linear layers over the sinusoidal time. `[N, 256] -> [N, D]`. */
class TimeEmbedder extends Module {
  readonly mlp: { readonly 0: Linear; readonly 2: Linear };

  constructor(width: number) {
    super();
    const options = { init: normal(0.02), biasInit: zeros };
    this.mlp = { 0: new Linear(sinusoidalWidth, width, options), 2: new Linear(width, width, options) };
  }

  forward(sinusoidal: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => this.mlp[2].forward(silu(this.mlp[0].forward(sinusoidal))));
  }
}

/** A row for each class and one for "no label". int32 `[N] -> [N, D]`. */
class LabelEmbedder extends Module {
  readonly embedding_table: Embedding;

  constructor(rows: number, width: number) {
    super();
    this.embedding_table = new Embedding(rows, width, { init: normal(0.02) });
  }

  forward(labels: tf.Tensor1D): tf.Tensor2D {
    return this.embedding_table.forward(labels);
  }
}

/**
 * adaLN-Zero block: h = x + gate attention(modulate(norm(x))), then h + gate mlp(modulate(norm(h))), with two shifts, scales
 * and gates from the condition. Gates start at zero, so a fresh block is the identity. Section 3.2, figure 3.
 */
class Block extends Module {
  readonly norm1: LayerNorm;
  readonly attn: SelfAttention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  readonly adaLN_modulation: { readonly 1: Linear };
  readonly t_embedder?: TimeEmbedder;
  readonly y_embedder?: LabelEmbedder;

  constructor(config: DiTConfig) {
    super();
    const { width, epsilon, mlpEpsilon } = config;
    this.norm1 = new LayerNorm(width, { affine: false, epsilon });
    this.attn = new SelfAttention(width, config.heads, { qkvBias: config.qkvBias, dense });
    this.norm2 = new LayerNorm(width, { affine: false, epsilon: mlpEpsilon });
    this.mlp = new Mlp(width, mlpWidth(config), { activation: 'tanh', dense });
    this.adaLN_modulation = { 1: new Linear(width, 6 * width, { init: zeros }) };
    if (config.embedders === 'per-block') {
      const rows = labelRows(config);
      this.t_embedder = new TimeEmbedder(width);
      if (rows !== null) this.y_embedder = new LabelEmbedder(rows, width);
    }
  }

  /** x `[N, T, D]`, condition `[N, D]` -> `[N, T, D]`. */
  forward(x: tf.Tensor3D, condition: tf.Tensor2D): tf.Tensor3D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const parts = perImage(this.adaLN_modulation[1].forward(condition), 6); //      6 x [N, 1, D]
      const [shift1, scale1, gate1, shift2, scale2, gate2] = parts as [Part, Part, Part, Part, Part, Part];
      const attended = this.attn.forward(modulate(this.norm1.forward(x), shift1, scale1));
      const h = tf.add(x, tf.mul(gate1, attended)) as tf.Tensor3D;
      const mixed = this.mlp.forward(modulate(this.norm2.forward(h), shift2, scale2));
      return tf.add(h, tf.mul(gate2, mixed));
    });
  }
}

/** Modulated norm and a linear map to the pixels of each patch; both start at zero. `[N, T, D] -> [N, T, p p C]`. */
class FinalLayer extends Module {
  readonly norm_final: LayerNorm;
  readonly linear: Linear;
  readonly adaLN_modulation: { readonly 1: Linear };

  constructor({ width, patchSize, outChannels, epsilon }: DiTConfig) {
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

/** A linear layer that starts as in the paper's ViT: Xavier-uniform weight, zero bias. */
function dense(inputs: number, outputs: number, bias = true): Linear {
  return new Linear(inputs, outputs, { bias, init: xavierUniform(inputs, outputs), biasInit: zeros });
}

/** Patches a side. */
function gridSide({ imageSize, patchSize }: DiTConfig): number {
  return imageSize / patchSize;
}
