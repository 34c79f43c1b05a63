import {
  blockBoundary,
  imageProblems,
  isSkipped,
  Module,
  normal,
  ones,
  Param,
  recallAll,
  recalled,
  throwIf,
  timeProblems,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  axialRotary,
  gelu,
  joinHeads,
  LayerNorm,
  Linear,
  modulate,
  patchify,
  type Rotary,
  rmsNorm,
  rotate,
  silu,
  splitHeads,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { type FluxConfig, fluxMlpWidth, fluxTokenWidth, validateFluxConfig } from './flux-config.js';
import { textProblems } from './text-problems.js';

/** What FLUX takes beside the noisy latent image and the time. */
export interface FluxInputs {
  /** T5's tokens `[N, S, contextWidth]`. */
  readonly context: tf.Tensor3D;
  /** CLIP-L's pooled text `[N, pooledWidth]`. */
  readonly pooled: tf.Tensor2D;
  /** Guidance scale of each image, `[N]`: for a model with `guidanceEmbed` (dev), and for no other. */
  readonly guidance?: tf.Tensor1D;
}

/** Where tokens are: `[S, 3]` of the text (zeros in the reference) and `[T, 3]` of the image: 0, row, column. */
export interface FluxPositions {
  readonly text: tf.Tensor;
  readonly image: tf.Tensor;
}

/** Numbers in the sinusoidal embeddings of time and guidance, whose inputs are taken a thousandfold. */
const timeFeatures = 256;
const timeScale = 1000;

/** Epsilon of all norms. */
const epsilon = 1e-6;

/**
 * FLUX.1 (Black Forest Labs 2024, no paper): blocks with separate weights for text and image as in MM-DiT, then parallel
 * blocks (Dehghani et al. 2023, ViT-22B) with one set of weights for both, rotary positions, RMS-normalised q and k.
 * State-dict keys are those of the published single files.
 */
export class Flux extends Module {
  readonly config: FluxConfig;
  readonly img_in: Linear;
  readonly time_in: VectorEmbedder;
  readonly vector_in: VectorEmbedder;
  readonly guidance_in?: VectorEmbedder;
  readonly txt_in: Linear;
  readonly double_blocks: readonly DoubleBlock[];
  readonly single_blocks: readonly SingleBlock[];
  readonly final_layer: FinalLayer;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: FluxConfig) {
    super();
    validateFluxConfig(new.target.name, config);
    this.config = config;
    const { width } = config;
    this.img_in = dense(fluxTokenWidth(config), width);
    this.time_in = new VectorEmbedder(timeFeatures, width);
    this.vector_in = new VectorEmbedder(config.pooledWidth, width);
    if (config.guidanceEmbed) this.guidance_in = new VectorEmbedder(timeFeatures, width);
    this.txt_in = dense(config.contextWidth, width);
    this.double_blocks = Array.from({ length: config.depth }, () => new DoubleBlock(config));
    this.single_blocks = Array.from({ length: config.singleDepth }, () => new SingleBlock(config));
    this.final_layer = new FinalLayer(config);
  }

  /**
   * The predicted velocity dx/dsigma = noise - image of a rectified flow.
   * @param x noisy latent images `[N, H, W, channels]`
   * @param time sigma of each image, `[N]` in [0, 1]
   * @returns `[N, H, W, channels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit, or guidance is given to a model that has no place for it
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, inputs: FluxInputs): tf.Tensor4D {
    const { patchSize: p, channels } = this.config;
    throwIf(this.constructor.name, [
      ...imageProblems('x', x, channels, p),
      ...timeProblems(time, x),
      ...this.conditionProblems(x, inputs.context, inputs.pooled, inputs.guidance),
    ]);
    const grid = [x.shape[1] / p, x.shape[2] / p] as const;
    return tf.tidy(() => {
      const positions = { text: tf.zeros([inputs.context.shape[1], 3]), image: gridPositions(grid) };
      const velocity = this.onTokens(pack(x, p), time, { ...inputs, positions }); //    [N, T, p p C]
      return unpack(velocity, p, grid); //                                              [N, H, W, C]
    });
  }

  /**
   * `forward` of packed tokens: patches of the image with the channel outermost, `[N, T, channels p p]` ("(c ph pw)").
   * @returns `[N, T, channels p p]`, a new tensor
   * @throws InvalidArgumentError as `forward`
   */
  onTokens(
    tokens: tf.Tensor3D,
    time: tf.Tensor1D,
    { context, pooled, guidance, positions }: FluxInputs & { readonly positions: FluxPositions },
  ): tf.Tensor3D {
    const width = fluxTokenWidth(this.config);
    throwIf(this.constructor.name, [
      ...(tokens.rank === 3 && tokens.shape[2] === width
        ? []
        : [`tokens: expected [N, T, ${width}], got [${tokens.shape}]`]),
      ...timeProblems(time, tokens),
      ...this.conditionProblems(tokens, context, pooled, guidance),
    ]);
    const { rotaryAxes: axes, rotaryTheta: theta } = this.config;
    return tf.tidy(() => {
      const { txt_in, vector_in, guidance_in } = this;
      const [tokensOfText] = recalled(txt_in, context, () => [txt_in.forward(context)] as const); // [N, S, D]
      const [text] = recalled(vector_in, pooled, () => [vector_in.forward(pooled)] as const); // [N, D]
      const [told] = guidance
        ? recalled(guidance_in!, guidance, () => [guidance_in!.forward(sinusoidal(guidance))] as const)
        : []; // [N, D]
      recallAll(this, context);
      const times = this.time_in.forward(sinusoidal(time)); //                          [N, D]
      const y = silu(tf.add(told === undefined ? times : tf.add(times, told), text) as tf.Tensor2D);
      const rotary = axialRotary(tf.concat([positions.text, positions.image], -2), { axes, theta }); // [S + T, d]
      let c = tf.clone(tokensOfText); //                                                [N, S, D]
      let h = this.img_in.forward(tokens); //                                           [N, T, D]
      for (const block of this.double_blocks) {
        const given = [h, c] as const;
        [h, c] = block.forward(...given, y, rotary);
        if (blockBoundary(block)) tf.dispose([...given]);
      }
      let all = tf.concat([c, h], 1); //                                                [N, S + T, D]
      for (const block of this.single_blocks) {
        const given = all;
        all = block.forward(given, y, rotary);
        if (blockBoundary(block)) given.dispose();
      }
      h = tf.slice(all, [0, context.shape[1], 0], [-1, -1, -1]); //                     [N, T, D]
      return this.final_layer.forward(h, y); //                                         [N, T, p p C]
    });
  }

  private conditionProblems(x: tf.Tensor, context: tf.Tensor, pooled: tf.Tensor, guidance?: tf.Tensor): string[] {
    const problems = textProblems(context, pooled, x, this.config);
    if (!this.config.guidanceEmbed && guidance !== undefined) {
      problems.push('guidance: this model (like FLUX.1 schnell) has no place for a guidance scale; leave it out');
    } else if (this.config.guidanceEmbed && (guidance?.rank !== 1 || guidance.shape[0] !== x.shape[0])) {
      const got = guidance === undefined ? 'none' : `[${guidance.shape}]`;
      problems.push(`guidance: expected [${x.shape[0]}], the guidance scale of each image, got ${got}`);
    }
    return problems;
  }
}

/** `[N] -> [N, 256]`, cosines first. */
function sinusoidal(t: tf.Tensor1D): tf.Tensor2D {
  return timestepEmbedding(t, timeFeatures, { scale: timeScale });
}

/** Two linear layers with SiLU between, for sinusoidal numbers and for pooled text. `[N, in] -> [N, D]`. */
class VectorEmbedder extends Module {
  readonly in_layer: Linear;
  readonly out_layer: Linear;

  constructor(inputs: number, width: number) {
    super();
    const options = { init: normal(0.02), biasInit: zeros };
    this.in_layer = new Linear(inputs, width, options);
    this.out_layer = new Linear(width, width, options);
  }

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => this.out_layer.forward(silu(this.in_layer.forward(x))));
  }
}

/** Text and image each make q, k and v of their modulated tokens, attend together, and go on alone, as in MM-DiT. */
class DoubleBlock extends Module {
  readonly img_mod: Modulation;
  readonly img_attn: Attention;
  readonly img_mlp: Mlp;
  readonly txt_mod: Modulation;
  readonly txt_attn: Attention;
  readonly txt_mlp: Mlp;
  readonly #norm: LayerNorm;

  constructor(config: FluxConfig) {
    super();
    const { width } = config;
    this.img_mod = new Modulation(width, 6);
    this.img_attn = new Attention(config);
    this.img_mlp = mlp(width, fluxMlpWidth(config));
    this.txt_mod = new Modulation(width, 6);
    this.txt_attn = new Attention(config);
    this.txt_mlp = mlp(width, fluxMlpWidth(config));
    this.#norm = new LayerNorm(width, { affine: false, epsilon });
  }

  /** x `[N, T, D]`, context `[N, S, D]`, condition `[N, D]` -> x and context. */
  forward(x: tf.Tensor3D, context: tf.Tensor3D, condition: tf.Tensor2D, rotary: Rotary): [tf.Tensor3D, tf.Tensor3D] {
    if (isSkipped(this)) return [tf.clone(x), tf.clone(context)];
    return tf.tidy(() => {
      const ofText = this.txt_mod.forward(condition) as SixParts; //                    6 x [N, 1, D]
      const ofImage = this.img_mod.forward(condition) as SixParts;
      const text = this.txt_attn.qkvOf(modulate(this.#norm.forward(context), ofText[0], ofText[1]));
      const image = this.img_attn.qkvOf(modulate(this.#norm.forward(x), ofImage[0], ofImage[1]));
      const [q, k, v] = text.map((part, i) => tf.concat([part, image[i]!], 2)) as [
        tf.Tensor4D,
        tf.Tensor4D,
        tf.Tensor4D,
      ];
      const attended = joinHeads(attention(rotate(q, rotary), rotate(k, rotary), v, { by: this.img_attn })); // [N, S + T, D]
      const [toText, toImage] = tf.split(attended, [context.shape[1], x.shape[1]], 1) as [tf.Tensor3D, tf.Tensor3D];
      return [
        this.#after(x, this.img_attn.proj.forward(toImage), ofImage, this.img_mlp),
        this.#after(context, this.txt_attn.proj.forward(toText), ofText, this.txt_mlp),
      ];
    });
  }

  /** h = x + gate attended, then h + gate mlp(modulate(norm(h))). */
  #after(x: tf.Tensor3D, attended: tf.Tensor3D, parts: SixParts, mlp: Mlp): tf.Tensor3D {
    const [, , gate1, shift2, scale2, gate2] = parts;
    const h = tf.add(x, tf.mul(gate1, attended)) as tf.Tensor3D;
    const hidden = mlp[0].forward(modulate(this.#norm.forward(h), shift2, scale2)); //  [N, T, 4 D]
    return tf.add(h, tf.mul(gate2, mlp[2].forward(gelu(hidden, 'tanh'))));
  }
}

/**
 * Attention and MLP side by side on text and image together: x + gate linear2([attention, gelu(mlp)]), where linear1
 * makes q, k, v and the MLP's hidden numbers of the modulated tokens.
 */
class SingleBlock extends Module {
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm: QkNorm;
  readonly modulation: Modulation;
  readonly heads: number;
  readonly widths: readonly number[];
  readonly #norm: LayerNorm;

  constructor(config: FluxConfig) {
    super();
    const { width, heads } = config;
    const hidden = fluxMlpWidth(config);
    this.heads = heads;
    this.widths = [width, width, width, hidden];
    this.linear1 = dense(width, 3 * width + hidden);
    this.linear2 = dense(width + hidden, width);
    this.norm = new QkNorm(width / heads);
    this.modulation = new Modulation(width, 3);
    this.#norm = new LayerNorm(width, { affine: false, epsilon });
  }

  /** x `[N, S + T, D]`, condition `[N, D]` -> `[N, S + T, D]`. */
  forward(x: tf.Tensor3D, condition: tf.Tensor2D, rotary: Rotary): tf.Tensor3D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const [shift, scale, gate] = this.modulation.forward(condition) as [Part, Part, Part]; // [N, 1, D]
      const made = this.linear1.forward(modulate(this.#norm.forward(x), shift, scale)); // [N, S + T, 3 D + hidden]
      const [q, k, v, hidden] = tf.split(made, [...this.widths], 2) as [Part, Part, Part, Part];
      const [qHeads, kHeads] = this.norm.forward(splitHeads(q, this.heads), splitHeads(k, this.heads)); // [N, h, S + T, d]
      const attended = joinHeads(
        attention(rotate(qHeads, rotary), rotate(kHeads, rotary), splitHeads(v, this.heads), { by: this }),
      ); //                                                                             [N, S + T, D]
      const both = tf.concat([attended, gelu(hidden, 'tanh')], 2);
      return tf.add(x, tf.mul(gate, this.linear2.forward(both)));
    });
  }
}

/** q, k and v of one stream in one map, and the map behind the joint attention. */
class Attention extends Module {
  readonly qkv: Linear;
  readonly norm: QkNorm;
  readonly proj: Linear;
  readonly heads: number;

  constructor({ width, heads, qkvBias }: FluxConfig) {
    super();
    this.heads = heads;
    this.qkv = dense(width, 3 * width, qkvBias);
    this.norm = new QkNorm(width / heads);
    this.proj = dense(width, width);
  }

  /** x `[N, S, D]` -> q, k, v `[N, h, S, d]`. */
  qkvOf(x: tf.Tensor3D): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
    const parts = tf.split(this.qkv.forward(x), 3, 2) as tf.Tensor3D[]; //              3 x [N, S, D]
    const [q, k, v] = parts.map((part) => splitHeads(part, this.heads)) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    return [...this.norm.forward(q, k), v];
  }
}

/** Root-mean-square norms of the queries and keys of each head; files call their scales `scale`. */
class QkNorm extends Module {
  readonly query_norm: { readonly scale: Param };
  readonly key_norm: { readonly scale: Param };

  constructor(width: number) {
    super();
    this.query_norm = { scale: new Param([width], { init: ones }) };
    this.key_norm = { scale: new Param([width], { init: ones }) };
  }

  forward(q: tf.Tensor4D, k: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D] {
    return [rmsNorm(q, this.query_norm.scale.value, { epsilon }), rmsNorm(k, this.key_norm.scale.value, { epsilon })];
  }
}

/** Two linear layers, with tanh-GELU between them where they are used. */
interface Mlp {
  readonly 0: Linear;
  readonly 2: Linear;
}

function mlp(width: number, hidden: number): Mlp {
  return { 0: dense(width, hidden), 2: dense(hidden, width) };
}

/** Shifts, scales and gates from the condition; they start at zero (adaLN-Zero). `[N, D]` -> parts of `[N, 1, D]`. */
class Modulation extends Module {
  readonly lin: Linear;
  readonly parts: number;

  constructor(width: number, parts: number) {
    super();
    this.parts = parts;
    this.lin = new Linear(width, parts * width, { init: zeros });
  }

  forward(condition: tf.Tensor2D): Part[] {
    return tf.split(tf.expandDims(this.lin.forward(condition), 1) as Part, this.parts, 2);
  }
}

/** Modulated norm and a linear map to the pixels of each patch; both start at zero. `[N, T, D] -> [N, T, p p C]`. */
class FinalLayer extends Module {
  readonly linear: Linear;
  readonly adaLN_modulation: { readonly 1: Linear };
  readonly #norm: LayerNorm;

  constructor(config: FluxConfig) {
    super();
    const { width } = config;
    this.#norm = new LayerNorm(width, { affine: false, epsilon });
    this.linear = new Linear(width, fluxTokenWidth(config), { init: zeros });
    this.adaLN_modulation = { 1: new Linear(width, 2 * width, { init: zeros }) };
  }

  forward(x: tf.Tensor3D, condition: tf.Tensor2D): tf.Tensor3D {
    return tf.tidy(() => {
      const parts = tf.expandDims(this.adaLN_modulation[1].forward(condition), 1) as Part; // [N, 1, 2 D]
      const [shift, scale] = tf.split(parts, 2, 2) as [Part, Part];
      return this.linear.forward(modulate(this.#norm.forward(x), shift, scale));
    });
  }
}

/** One number a channel for all tokens of an image, `[N, 1, D]`. */
type Part = tf.Tensor3D;
type SixParts = [Part, Part, Part, Part, Part, Part];

/** Patches with the channel outermost: `[N, H, W, C]` -> `[N, T, C p p]`. */
function pack(x: tf.Tensor4D, p: number): tf.Tensor3D {
  const c = x.shape[3];
  const patches = patchify(x, p); //                                                    [N, T, p p C]
  const [n, t] = patches.shape;
  return tf.reshape(tf.transpose(tf.reshape(patches, [n, t, p * p, c]), [0, 1, 3, 2]), [n, t, c * p * p]);
}

/** The inverse of `pack`. */
function unpack(tokens: tf.Tensor3D, p: number, grid: readonly [number, number]): tf.Tensor4D {
  const [n, t, width] = tokens.shape;
  const c = width / (p * p);
  const patches = tf.reshape(tf.transpose(tf.reshape(tokens, [n, t, c, p * p]), [0, 1, 3, 2]), [n, t, p * p * c]);
  return unpatchify(patches as tf.Tensor3D, p, grid);
}

/** (0, row, column) of each patch, row by row: `[T, 3]`. */
function gridPositions([rows, columns]: readonly [number, number]): tf.Tensor2D {
  const ids = new Float32Array(rows * columns * 3);
  for (let t = 0; t < rows * columns; t++) ids.set([0, Math.floor(t / columns), t % columns], 3 * t);
  return tf.tensor2d(ids, [rows * columns, 3]);
}

/** A linear layer with a Xavier-uniform weight and a zero bias, as in DiT. */
function dense(inputs: number, outputs: number, bias = true): Linear {
  return new Linear(inputs, outputs, { bias, init: xavierUniform(inputs, outputs), biasInit: zeros });
}
