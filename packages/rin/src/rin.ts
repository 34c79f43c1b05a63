import {
  type Initializer,
  isSkipped,
  labelProblems,
  Module,
  ones,
  Param,
  type RandomStream,
  sizeOf,
  throwIf,
  timeProblems,
  truncatedNormal,
  withoutGradient,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  dropout,
  gelu,
  joinHeads,
  layerNorm,
  oneHotOrNone,
  patchify,
  silu,
  splitHeads,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { learnedLatents, type PositionKind, type RINConfig, tokenGrid, validateRINConfig } from './rin-config.js';

/** What a pass leaves behind for the next one. */
export interface RINState {
  /** `[N, m, d_l]`. */
  readonly latents: tf.Tensor3D;
  /** `[N, T, d_t]`. */
  readonly tokens: tf.Tensor3D;
}

/** What a RIN takes beside the noisy image and the signal level. */
export interface RINInputs {
  /** Class of each image, int32 `[N]` in [0, classes], `classes` being "no label"; for models with classes only. */
  readonly labels?: tf.Tensor1D;
  /** What the pass before left behind; absent: zeros, as at the first step of sampling. */
  readonly previous?: RINState;
}

/** A forward pass of training draws dropout and self-conditioning from a stream. */
export interface RINTraining extends Omit<RINInputs, 'previous'> {
  readonly rng?: RandomStream;
}

/** What a pass gives: the prediction and the state for the next pass. Three new tensors. */
export interface RINOutput extends RINState {
  /** `[N, H, W, C]`. */
  readonly prediction: tf.Tensor4D;
}

/**
 * Recurrent Interface Network: a few latents read from the image's tokens, compute among themselves, and write back; what the
 * latents know goes on to the next step of sampling. Jabri, Fleet and Chen 2022, "Scalable adaptive computation for iterative
 * generation", section 3. State-dict keys are the object paths of the original's checkpoints (`/` is `.` here), and kernels
 * have Keras's axes.
 */
export class RIN extends Module {
  readonly config: RINConfig;
  readonly stem: { readonly kernel: Param; readonly bias: Param };
  readonly stem_ln: Norm;
  readonly time_emb: { readonly dense_0: Dense; readonly dense_1: Dense };
  readonly cond_proj?: Dense;
  readonly latent_pos_emb?: Param;
  readonly latent_pos_emb_res?: Param;
  readonly tape_pos_emb?: Param;
  readonly tape_pos_emb_res?: Param;
  readonly latent_prev_proj?: Mlp;
  readonly latent_prev_ln?: Norm;
  readonly tape_prev_proj?: Mlp;
  readonly tape_prev_ln?: Norm;
  readonly read_units: Readonly<Record<number, CrossUnit>>;
  readonly latent_processing_units: Readonly<Record<number, SelfUnit>>;
  readonly write_units: Readonly<Record<number, CrossUnit>>;
  readonly output_ln: Norm;
  readonly output_linear: Dense;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: RINConfig) {
    super();
    validateRINConfig(new.target.name, config);
    this.config = config;
    const { patchSize, inChannels, latentWidth, tokenWidth, latentMlpRatio, tokenMlpRatio, blocks, classes } = config;
    const patch = patchSize * patchSize * inChannels;
    const kernel = xavierUniform(patch, patchSize * patchSize * tokenWidth);
    this.stem = {
      kernel: new Param([patchSize, patchSize, inChannels, tokenWidth], { init: kernel }),
      bias: new Param([tokenWidth], { init: zeros }),
    };
    this.stem_ln = new Norm(tokenWidth);
    const timeWidth = config.timeOn === 'latents' ? latentWidth : tokenWidth;
    this.time_emb = { dense_0: new Dense(timeWidth / 4, timeWidth), dense_1: new Dense(timeWidth, timeWidth) };
    if (classes !== null) {
      this.cond_proj = new Dense(classes, config.labelOn === 'latents' ? latentWidth : tokenWidth);
    }
    const latents = positionParams(config.latentPositions, learnedLatents(config), latentWidth);
    if (latents.table) this.latent_pos_emb = latents.table;
    if (latents.residual) this.latent_pos_emb_res = latents.residual;
    const tokens = positionParams(config.tokenPositions, tokenCount(config), tokenWidth);
    if (tokens.table) this.tape_pos_emb = tokens.table;
    if (tokens.residual) this.tape_pos_emb_res = tokens.residual;
    if (givesLatents(config)) {
      this.latent_prev_proj = new Mlp(latentWidth, latentMlpRatio);
      this.latent_prev_ln = new Norm(latentWidth, zeros);
    }
    if (givesTokens(config)) {
      this.tape_prev_proj = new Mlp(tokenWidth, tokenMlpRatio);
      this.tape_prev_ln = new Norm(tokenWidth, zeros);
    }
    const whole = blocks.map((layers, i) => [i, layers] as const);
    const writing = whole.filter(([, layers]) => layers > 0);
    this.read_units = Object.fromEntries(
      whole.map(([i]) => [i, new CrossUnit(config, latentWidth, tokenWidth, latentMlpRatio)]),
    );
    this.latent_processing_units = Object.fromEntries(writing.map(([i, layers]) => [i, new SelfUnit(config, layers)]));
    this.write_units = Object.fromEntries(
      writing.map(([i]) => [i, new CrossUnit(config, tokenWidth, latentWidth, tokenMlpRatio)]),
    );
    this.output_ln = new Norm(tokenWidth);
    this.output_linear = new Dense(tokenWidth, patch);
  }

  /**
   * The predicted noise (or what the model was trained to predict). Without `rng` one pass that starts from nothing; for the
   * steps of sampling, `pass` or `warmStarted` hands the latents on. With `rng` a pass of training: dropout, and latent
   * self-conditioning (section 3.3): a first pass without gradient, whose state a share `selfConditioningRate` of the images
   * is given in the second; the others are given zeros.
   *
   * @param x noisy images `[N, H, W, inChannels]` of the configuration's size
   * @param gamma signal level of each image, `[N]`: the gamma of x = sqrt(gamma) x0 + sqrt(1 - gamma) eps, not a time
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, gamma: tf.Tensor1D, { labels, rng }: RINTraining = {}): tf.Tensor4D {
    return tf.tidy(() => {
      const given = { ...(labels && { labels }) };
      if (rng === undefined || this.config.selfConditioning === 'none')
        return this.run(x, gamma, given, rng).prediction;
      const previous = this.firstPass(x, gamma, given, rng);
      return this.run(x, gamma, { ...given, previous }, rng).prediction;
    });
  }

  /**
   * One pass with the state that another one left behind.
   * @returns the prediction and the state, three new tensors
   * @throws InvalidArgumentError when a shape does not fit
   */
  pass(x: tf.Tensor4D, gamma: tf.Tensor1D, inputs: RINInputs = {}): RINOutput {
    return tf.tidy(() => ({ ...this.run(x, gamma, inputs) }));
  }

  /** The state of a pass that is not trained, zero for the images that are to learn without it. */
  private firstPass(x: tf.Tensor4D, gamma: tf.Tensor1D, given: RINInputs, rng: RandomStream): RINState {
    const n = x.shape[0];
    const [t, dt] = [tokenCount(this.config), this.config.tokenWidth];
    const [m, dl] = [this.config.latents, this.config.latentWidth];
    // One tensor comes out of withoutGradient, so the two parts of the state are joined and split again.
    const state = withoutGradient(() => {
      const { latents, tokens } = this.run(x, gamma, given, rng);
      return tf.concat([tf.reshape(latents, [n, m * dl]), tf.reshape(tokens, [n, t * dt])], 1);
    });
    const rate = this.config.selfConditioningRate;
    const kept = tf.tensor2d(
      Array.from(rng.rand(n), (u) => Number(u < rate)),
      [n, 1],
    );
    const [latents, tokens] = tf.split(tf.mul(state, kept), [m * dl, t * dt], 1) as [tf.Tensor, tf.Tensor];
    return { latents: tf.reshape(latents, [n, m, dl]), tokens: tf.reshape(tokens, [n, t, dt]) };
  }

  private run(x: tf.Tensor4D, gamma: tf.Tensor1D, inputs: RINInputs, rng?: RandomStream): RINOutput {
    const { patchSize, blocks, classes } = this.config;
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(gamma, x),
      ...labelProblems(inputs.labels, x, classes === null ? null : classes + 1),
      ...this.stateProblems(inputs.previous, x),
    ]);
    const time = this.timeToken(gamma); //                                            [N, 1, d]
    const label = inputs.labels && this.labelToken(inputs.labels); //                 [N, 1, d]
    const beside = this.besideTokens(time, label); //                                 [N, 0 to 2, d_t]
    const readOnly = this.config.writableConditions ? [] : beside;
    const image = this.tokensOf(x, inputs.previous?.tokens); //                       [N, T, d_t]
    let tokens = this.config.writableConditions ? (tf.concat([image, ...beside], 1) as tf.Tensor3D) : image;
    let latents = this.latentsOf(x.shape[0], time, label, inputs.previous?.latents); // [N, m, d_l]
    for (const i of blocks.keys()) {
      latents = this.read_units[i]!.forward(latents, tf.concat([tokens, ...readOnly], 1));
      latents = this.latent_processing_units[i]?.forward(latents, rng) ?? latents;
      tokens = this.write_units[i]?.forward(tokens, latents) ?? tokens;
    }
    const written = tf.slice(tokens, [0, 0, 0], [-1, tokenCount(this.config), -1]); // [N, T, d_t]
    const pixels = this.output_linear.forward(this.output_ln.forward(written)); //    [N, T, P P C]
    return { prediction: unpatchify(pixels, patchSize, tokenGrid(this.config)), latents, tokens: written };
  }

  /** sines and cosines of s gamma, standardised over their numbers, through two dense layers: `[N] -> [N, 1, d]`. */
  private timeToken(gamma: tf.Tensor1D): tf.Tensor3D {
    const { dense_0, dense_1 } = this.time_emb;
    const scaled = tf.mul(gamma, this.config.timeScale) as tf.Tensor1D;
    const sinusoidal = timestepEmbedding(scaled, dense_0.kernel.shape[0]!, { order: 'sin-cos' }); // [N, d / 4]
    const { mean, variance } = tf.moments(sinusoidal, 1, true);
    const e = tf.div(tf.sub(sinusoidal, mean), tf.sqrt(variance)) as tf.Tensor2D;
    return tf.expandDims(dense_1.forward(silu(dense_0.forward(e))), 1);
  }

  /** The one-hot label through a dense layer; "no label" is a row of zeros, so its token is the bias. `[N] -> [N, 1, d]`. */
  private labelToken(labels: tf.Tensor1D): tf.Tensor3D {
    return tf.expandDims(this.cond_proj!.forward(oneHotOrNone(labels, this.config.classes!)), 1);
  }

  /** The tokens of conditions that are not among the latents. */
  private besideTokens(time: tf.Tensor3D, label: tf.Tensor3D | undefined): tf.Tensor3D[] {
    const { timeOn, labelOn } = this.config;
    return [...(timeOn === 'tokens' ? [time] : []), ...(labelOn === 'tokens' && label ? [label] : [])];
  }

  /** norm(patches) + positions, + norm(mlp(previous tokens)): `[N, H, W, C] -> [N, T, d_t]`. */
  private tokensOf(x: tf.Tensor4D, previous: tf.Tensor3D | undefined): tf.Tensor3D {
    const { patchSize, tokenWidth, tokenPositions, timeScale } = this.config;
    const patches = patchify(x, patchSize); //                                        [N, T, P P C]
    const kernel = tf.reshape(this.stem.kernel.value, [-1, tokenWidth]) as tf.Tensor2D;
    const embedded = this.stem_ln.forward(dense(patches, kernel, this.stem.bias.value));
    const at = positions(
      tokenPositions,
      tokenGrid(this.config),
      tokenWidth,
      timeScale,
      this.tape_pos_emb,
      this.tape_pos_emb_res,
    );
    const tokens = tf.add(embedded, at) as tf.Tensor3D;
    if (!this.tape_prev_proj) return tokens;
    const before = previous ?? tf.zeros<tf.Rank.R3>([x.shape[0], tokenCount(this.config), tokenWidth]);
    return tf.add(tokens, this.tape_prev_ln!.forward(this.tape_prev_proj.forward(before)));
  }

  /** [learned, time, label] + norm(mlp(previous latents)): `[N, m, d_l]`. Section 3.3; the norm starts at zero. */
  private latentsOf(
    n: number,
    time: tf.Tensor3D,
    label: tf.Tensor3D | undefined,
    previous: tf.Tensor3D | undefined,
  ): tf.Tensor3D {
    const { latentPositions, latentWidth, timeOn, labelOn, timeScale } = this.config;
    const grid = [learnedLatents(this.config), 1] as const;
    const at = positions(latentPositions, grid, latentWidth, timeScale, this.latent_pos_emb, this.latent_pos_emb_res);
    const learned = tf.tile(tf.reshape(at, [1, grid[0], latentWidth]), [n, 1, 1]) as tf.Tensor3D;
    const parts = [
      learned, //                                                                     [N, m', d_l]
      ...(timeOn === 'latents' ? [time] : []),
      ...(labelOn === 'latents' && label ? [label] : []),
    ];
    const latents = tf.concat(parts, 1);
    if (!this.latent_prev_proj) return latents;
    const before = previous ?? tf.zeros<tf.Rank.R3>(latents.shape);
    return tf.add(latents, this.latent_prev_ln!.forward(this.latent_prev_proj.forward(before)));
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { imageHeight, imageWidth, inChannels } = this.config;
    const [, h, w, c] = x.shape;
    if (x.rank === 4 && h === imageHeight && w === imageWidth && c === inChannels) return [];
    return [`x: expected [N, ${imageHeight}, ${imageWidth}, ${inChannels}], got [${x.shape}]`];
  }

  private stateProblems(previous: RINState | undefined, x: tf.Tensor4D): string[] {
    if (previous === undefined) return [];
    const { latents, latentWidth, tokenWidth } = this.config;
    const expected = {
      latents: [x.shape[0], latents, latentWidth],
      tokens: [x.shape[0], tokenCount(this.config), tokenWidth],
    };
    return (['latents', 'tokens'] as const).flatMap((name) =>
      String(previous[name]?.shape) === String(expected[name])
        ? []
        : [`previous.${name}: expected [${expected[name]}], got [${previous[name]?.shape}]`],
    );
  }
}

/**
 * Reads or writes: x = x + attention(norm(x), what is read), then the MLP. Width of the attention: the smaller of the two.
 * `x [N, A, d], source [N, B, d'] -> [N, A, d]`.
 */
class CrossUnit extends Module {
  readonly dec_layers: readonly [
    {
      readonly cross_ln: Norm;
      readonly enc_ln?: Norm;
      readonly cross_mha: Attention;
      readonly mlp: Mlp;
    },
  ];

  constructor({ normalizedKeys, readWriteHeads }: RINConfig, width: number, sourceWidth: number, mlpRatio: number) {
    super();
    this.dec_layers = [
      {
        cross_ln: new Norm(width),
        ...(normalizedKeys && { enc_ln: new Norm(sourceWidth) }),
        cross_mha: new Attention(width, sourceWidth, Math.min(width, sourceWidth), readWriteHeads),
        mlp: new Mlp(width, mlpRatio),
      },
    ];
  }

  forward(x: tf.Tensor3D, source: tf.Tensor3D): tf.Tensor3D {
    const [{ cross_ln, enc_ln, cross_mha, mlp }] = this.dec_layers;
    return tf.tidy(() => {
      const read = cross_mha.forward(cross_ln.forward(x), enc_ln?.forward(source) ?? source);
      return mlp.forward(tf.add(x, read));
    });
  }
}

/** Self-attention layers of the latents: x = x + attention(norm(x)), then the MLP, k times. `[N, m, d_l] -> [N, m, d_l]`. */
class SelfUnit extends Module {
  readonly enc_layers: readonly SelfLayer[];

  constructor(config: RINConfig, layers: number) {
    super();
    this.enc_layers = Array.from({ length: layers }, () => new SelfLayer(config));
  }

  forward(x: tf.Tensor3D, rng?: RandomStream): tf.Tensor3D {
    return tf.tidy(() => this.enc_layers.reduce((h, layer) => layer.forward(h, rng), x));
  }
}

class SelfLayer extends Module {
  readonly mha_ln: Norm;
  readonly mha: Attention;
  readonly mlp: Mlp;
  readonly dropPath: number;
  readonly dropout: number;

  constructor({ latentWidth, latentHeads, latentMlpRatio, dropPath, dropout }: RINConfig) {
    super();
    this.mha_ln = new Norm(latentWidth);
    this.mha = new Attention(latentWidth, latentWidth, latentWidth, latentHeads);
    this.mlp = new Mlp(latentWidth, latentMlpRatio);
    this.dropPath = dropPath;
    this.dropout = dropout;
  }

  forward(x: tf.Tensor3D, rng?: RandomStream): tf.Tensor3D {
    if (isSkipped(this)) return tf.clone(x);
    return tf.tidy(() => {
      const h = this.mha_ln.forward(x);
      const mixed = tf.add(x, dropBranch(this.mha.forward(h, h), this.dropPath, rng)) as tf.Tensor3D;
      return this.mlp.forward(mixed, { rng, dropout: this.dropout, dropPath: this.dropPath });
    });
  }
}

/** Multi-head attention of Keras: kernels of heads apart, biases everywhere. q `[N, A, d]`, source `[N, B, d'] -> [N, A, d]`. */
class Attention extends Module {
  readonly _query_dense: Dense;
  readonly _key_dense: Dense;
  readonly _value_dense: Dense;
  readonly _output_dense: Dense;
  readonly heads: number;

  constructor(width: number, sourceWidth: number, inner: number, heads: number) {
    super();
    this.heads = heads;
    this._query_dense = new Dense(width, [heads, inner / heads]);
    this._key_dense = new Dense(sourceWidth, [heads, inner / heads]);
    this._value_dense = new Dense(sourceWidth, [heads, inner / heads]);
    this._output_dense = new Dense([heads, inner / heads], width);
  }

  forward(x: tf.Tensor3D, source: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const q = splitHeads(this._query_dense.forward(x), this.heads); //              [N, h, A, d / h]
      const k = splitHeads(this._key_dense.forward(source), this.heads); //           [N, h, B, d / h]
      const v = splitHeads(this._value_dense.forward(source), this.heads);
      return this._output_dense.forward(joinHeads(attention(q, k, v, { by: this })));
    });
  }
}

/** x + dense(gelu(dense(norm(x)))). `[N, A, d] -> [N, A, d]`. */
class Mlp extends Module {
  readonly mlp_layers: readonly [{ readonly dense1: Dense; readonly dense2: Dense }];
  readonly layernorms: readonly [Norm];

  constructor(width: number, ratio: number) {
    super();
    const hidden = Math.trunc(width * ratio);
    this.mlp_layers = [{ dense1: new Dense(width, hidden), dense2: new Dense(hidden, width) }];
    this.layernorms = [new Norm(width)];
  }

  forward(
    x: tf.Tensor3D,
    {
      rng,
      dropout: rate = 0,
      dropPath = 0,
    }: { rng?: RandomStream | undefined; dropout?: number; dropPath?: number } = {},
  ): tf.Tensor3D {
    return tf.tidy(() => {
      const [{ dense1, dense2 }] = this.mlp_layers;
      const hidden = gelu(dense1.forward(this.layernorms[0].forward(x)), 'erf');
      return tf.add(x, dropBranch(dense2.forward(dropout(hidden, rate, rng)), dropPath, rng));
    });
  }
}

/** Layer normalisation with Keras's names. State: `gamma` `[d]`, `beta` `[d]`. */
class Norm extends Module {
  readonly gamma: Param;
  readonly beta: Param;

  constructor(width: number, init: Initializer = ones) {
    super();
    this.gamma = new Param([width], { init });
    this.beta = new Param([width], { init: zeros });
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return layerNorm(x, this.gamma.value, this.beta.value, { epsilon: 1e-6 });
  }
}

/**
 * A dense layer with Keras's axes. State: `kernel` `[in, out]`, of attentions `[in, h, d / h]` or `[h, d / h, out]`; `bias`.
 * Starts as Keras does: Glorot-uniform over the last two axes (the ones before them count as a receptive field), zero bias.
 */
class Dense extends Module {
  readonly kernel: Param;
  readonly bias: Param;

  constructor(inputs: number | readonly number[], outputs: number | readonly number[]) {
    super();
    const shape = [inputs, outputs].flat() as number[];
    const field = sizeOf(shape.slice(0, -2));
    this.kernel = new Param(shape, { init: xavierUniform(field * shape.at(-2)!, field * shape.at(-1)!) });
    this.bias = new Param([outputs].flat() as number[], { init: zeros });
  }

  /** `[..., in] -> [..., out]`, heads and their widths as one axis. */
  forward<T extends tf.Tensor>(x: T): T {
    return dense(x, tf.reshape(this.kernel.value, [x.shape.at(-1)!, -1]) as tf.Tensor2D, this.bias.value);
  }
}

/** x K + b over the last axis. */
function dense<T extends tf.Tensor>(x: T, kernel: tf.Tensor2D, bias: tf.Tensor): T {
  return tf.tidy(() => {
    const [inputs, outputs] = kernel.shape;
    const y = tf.add(tf.matMul(tf.reshape(x, [-1, inputs]), kernel), tf.reshape(bias, [-1]));
    return tf.reshape(y, [...x.shape.slice(0, -1), outputs]) as T;
  });
}

/** Stochastic depth (Huang et al. 2016): leaves a branch `[N, ...]` out for an image at a rate, and scales the others up. */
function dropBranch(branch: tf.Tensor3D, rate: number, rng: RandomStream | undefined): tf.Tensor3D {
  if (rng === undefined || rate === 0) return branch;
  const kept = Array.from(rng.rand(branch.shape[0]), (u) => (u < rate ? 0 : 1 / (1 - rate)));
  return tf.mul(branch, tf.tensor3d(kept, [kept.length, 1, 1]));
}

/** The parameters that positions of a kind have: N(0, 0.02^2) cut at two deviations, or zeros beside fixed ones. */
function positionParams(kind: PositionKind, count: number, width: number): { table?: Param; residual?: Param } {
  if (kind === 'learned') return { table: new Param([count, width], { init: truncatedNormal(0.02) }) };
  return kind === 'sin-cos' ? {} : { residual: new Param([count, width], { init: zeros }) };
}

/** Positions `[rows columns, width]`. */
function positions(
  kind: PositionKind,
  grid: readonly [number, number],
  width: number,
  range: number,
  table: Param | undefined,
  residual: Param | undefined,
): tf.Tensor {
  if (kind === 'learned') return table!.value;
  const fixed = tf.tensor2d(sinCosPositions(grid, width, range), [grid[0] * grid[1], width]);
  return residual ? tf.add(fixed, residual.value) : fixed;
}

/**
 * Sines and cosines of positions that run from 0 to `range`: of the row in the first half of the width and of the column in
 * the second; of the index in the whole width where there is one row or one column. float32 like the original's: the angles
 * are large.
 */
export function sinCosPositions(
  [rows, columns]: readonly [number, number],
  width: number,
  range: number,
): Float32Array {
  const f = Math.fround;
  const codes = (count: number, size: number) => {
    const rates = Array.from({ length: size / 2 }, (_, k) => f(1 / f(10_000 ** f((2 * k) / size))));
    return Array.from({ length: count }, (_, i) => {
      const at = count === 1 ? 0 : f(f(i / (count - 1)) * range);
      const angles = rates.map((rate) => f(at * rate));
      return [...angles.map(Math.sin), ...angles.map(Math.cos)];
    });
  };
  if (rows === 1 || columns === 1) return Float32Array.from(codes(rows * columns, width).flat());
  const [byRow, byColumn] = [codes(rows, width / 2), codes(columns, width / 2)];
  return Float32Array.from(byRow.flatMap((row) => byColumn.flatMap((column) => [...row, ...column])));
}

/** Patches of an image, T. */
function tokenCount(config: RINConfig): number {
  const [rows, columns] = tokenGrid(config);
  return rows * columns;
}

function givesLatents({ selfConditioning }: RINConfig): boolean {
  return selfConditioning === 'latents' || selfConditioning === 'latents-and-tokens';
}

function givesTokens({ selfConditioning }: RINConfig): boolean {
  return selfConditioning === 'tokens' || selfConditioning === 'latents-and-tokens';
}
