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
  type RandomStream,
  type Recalling,
  recallAll,
  recalled,
  throwIf,
  timeProblems,
  uniform,
  xavierUniform,
  zeros,
} from '@mezzotint/core';
import {
  attention,
  Embedding,
  joinHeads,
  LayerNorm,
  Linear,
  modulate,
  PatchEmbed,
  RmsNorm,
  silu,
  splitHeads,
  timestepEmbedding,
  unpatchify,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { Mamba, Mamba2, type Mixer } from './mamba.js';
import { hilbertPaths, inversePath, type ScanPath, zigzagPaths } from './scan-paths.js';
import { gridSide, validateZigMaConfig, type ZigMaConfig } from './zigma-config.js';

/** What ZigMa takes beside the noisy image and the time. */
export interface ZigMaInputs {
  /** Class of each image, int32 `[N]` in [0, classes], `classes` being "no label" where the model has one. */
  readonly labels?: tf.Tensor1D;
  /** Embedded text, `[N, S, context.width]` of S = context.tokens tokens; for models with text only. */
  readonly context?: tf.Tensor3D;
  /** Source of stochastic depth; absent, no branch is left out. */
  readonly rng?: RandomStream;
}

/** Numbers in the sinusoidal embedding of a time. */
const sinusoidalWidth = 256;

/**
 * ZigMa: a stack of state-space mixers in which each block scans the image's tokens along another path. Hu et al. 2024,
 * "ZigMa: a DiT-style zigzag Mamba diffusion model", section 3. State-dict keys are those of the published checkpoints.
 */
export class ZigMa extends Module {
  readonly config: ZigMaConfig;
  readonly pos_embed?: Param;
  readonly x_embedder: PatchEmbed;
  readonly t_embedder: { readonly mlp: { readonly 0: Linear; readonly 2: Linear } };
  readonly y_embedder?: Linear | { readonly embedding_table: Embedding };
  readonly blocks: readonly Block[];
  readonly norm_f: RmsNorm;
  readonly final_layer: { readonly norm_final: LayerNorm; readonly linear: Linear };

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ZigMaConfig) {
    super();
    validateZigMaConfig(new.target.name, config);
    this.config = config;
    const { width, patchSize, inChannels, depth, context, positions, epsilon, dropPath } = config;
    const side = gridSide(config);
    if (positions !== 'none') {
      const fixed: Initializer = () => positionTable([side, side], width);
      const init = positions === 'learned' ? zeros : fixed;
      this.pos_embed = new Param([1, side * side, width], { init, trainable: positions === 'learned' });
    }
    this.x_embedder = new PatchEmbed(patchSize, inChannels, width, {
      init: xavierUniform(patchSize * patchSize * inChannels, width),
      biasInit: zeros,
    });
    const time = { init: normal(0.02), biasInit: zeros };
    this.t_embedder = { mlp: { 0: new Linear(sinusoidalWidth, width, time), 2: new Linear(width, width, time) } };
    const rows = labelRows(config);
    if (rows !== null) this.y_embedder = { embedding_table: new Embedding(rows, width, { init: normal(0.02) }) };
    if (context !== null) this.y_embedder = new Linear(context.width, width, { biasInit: zeros });
    const paths = scanPaths(config);
    this.blocks = Array.from({ length: depth }, (_, i) => {
      // The rates of stochastic depth: 0, and then from 0 to the largest over the depth.
      const rate = i < 2 ? 0 : (dropPath * (i - 1)) / (depth - 1);
      return new Block(config, paths?.[i % paths.length], rate);
    });
    this.norm_f = new RmsNorm(width, { epsilon });
    this.final_layer = {
      norm_final: new LayerNorm(width, { affine: false, epsilon: 1e-6 }),
      linear: new Linear(width, patchSize * patchSize * inChannels, { biasInit: zeros }),
    };
  }

  /**
   * What the model was trained to predict; the published ones: the velocity data - noise of x = t data + (1 - t) noise, which
   * is minus the `flow` prediction of `@mezzotint/schedulers`.
   * @param x noisy images `[N, H, W, inChannels]` of the configuration's size
   * @param time `[N]` in [0, 1], 0 noise and 1 data in the published models; the model multiplies it by 1000
   * @returns `[N, H, W, inChannels]`, a new tensor
   * @throws InvalidArgumentError when a shape does not fit
   */
  forward(x: tf.Tensor4D, time: tf.Tensor1D, { labels, context, rng }: ZigMaInputs = {}): tf.Tensor4D {
    throwIf(this.constructor.name, [
      ...this.imageProblems(x),
      ...timeProblems(time, x),
      ...labelProblems(labels, x, labelRows(this.config)),
      ...this.contextProblems(context, x),
    ]);
    const side = gridSide(this.config);
    return tf.tidy(() => {
      const text = context && this.embeddedText(context); //                          [N, S, D]
      if (text) recallAll(this, text);
      const condition = silu(this.condition(time, labels, text)); //                  [N, D]
      const patches = this.x_embedder.forward(x); //                                  [N, T, D]
      let h = (this.pos_embed ? tf.add(patches, this.pos_embed.value) : patches) as tf.Tensor3D;
      let residual: tf.Tensor3D | undefined;
      for (const block of this.blocks) ({ h, residual } = block.forward(h, residual, condition, { text, rng }));
      const last = this.norm_f.forward(tf.add(residual!, dropBranch(h, this.config.dropPath, rng)) as tf.Tensor3D);
      const pixels = this.final_layer.linear.forward(this.final_layer.norm_final.forward(last)); // [N, T, P P C]
      return unpatchify(pixels, this.config.patchSize, [side, side]); //               [N, H, W, C]
    });
  }

  /** `[N, S, context.width] -> [N, S, D]`. */
  private embeddedText(context: tf.Tensor3D): tf.Tensor3D {
    const embedder = this.y_embedder as Linear;
    return recalled(embedder, context, () => [embedder.forward(context)] as const)[0];
  }

  /** Embedded time plus embedded label or the mean of the embedded text, `[N, D]`. */
  private condition(time: tf.Tensor1D, labels: tf.Tensor1D | undefined, text: tf.Tensor3D | undefined): tf.Tensor2D {
    const { mlp } = this.t_embedder;
    const sinusoidal = timestepEmbedding(tf.mul(time, 1000), sinusoidalWidth); //     [N, 256]
    const embedded = mlp[2].forward(silu(mlp[0].forward(sinusoidal)));
    if (text) return tf.add(embedded, tf.mean(text, 1));
    if (!labels) return embedded;
    return tf.add(embedded, (this.y_embedder as { embedding_table: Embedding }).embedding_table.forward(labels));
  }

  private imageProblems(x: tf.Tensor4D): string[] {
    const { imageSize, inChannels, patchSize } = this.config;
    const problems = imageProblems('x', x, inChannels, patchSize);
    if (problems.length > 0 || (x.shape[1] === imageSize && x.shape[2] === imageSize)) return problems;
    return [
      `x: expected ${imageSize} x ${imageSize} pixels, which the paths are for, got ${x.shape[1]} x ${x.shape[2]}`,
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

/** What a block hands on: what its branches gave, and the sum of what the blocks before it gave. */
interface Stream {
  readonly h: tf.Tensor3D;
  readonly residual: tf.Tensor3D;
}

/**
 * r = r + h, n = norm(r), h = n + gate mixer(n (1 + scale) + shift); with text, then h = h + gate attention(norm(h) (1 + scale) +
 * shift, text). The normalised n is added, not r. Section 3.2; gates start at zero.
 */
class Block extends Module implements Recalling {
  readonly norm: RmsNorm;
  readonly mixer: Mixer;
  readonly adaLN_modulation: { readonly 1: Linear };
  readonly msa?: CrossAttention;
  readonly norm_msa?: LayerNorm;
  readonly dropPath: number;
  readonly #order: { readonly path: ScanPath; readonly inverse: ScanPath } | undefined;

  constructor(config: ZigMaConfig, path: ScanPath | undefined, dropPath: number) {
    super();
    const { width, context, epsilon, mixer } = config;
    this.norm = new RmsNorm(width, { epsilon });
    this.mixer = mixer === 'mamba' ? new Mamba(config) : new Mamba2(config);
    this.adaLN_modulation = { 1: new Linear(width, (context ? 6 : 3) * width, { init: zeros }) };
    if (context) {
      this.msa = new CrossAttention(width);
      this.norm_msa = new LayerNorm(width, { affine: false, epsilon: 1e-6 });
    }
    this.dropPath = dropPath;
    this.#order = path && { path, inverse: inversePath(path) };
  }

  recall(text: tf.Tensor3D): void {
    this.msa?.keysAndValues(text);
  }

  /** h `[N, T, D]`, residual (none in the first block), condition `[N, D]`, embedded text `[N, S, D]`. */
  forward(
    h: tf.Tensor3D,
    residual: tf.Tensor3D | undefined,
    condition: tf.Tensor2D,
    { text, rng }: { readonly text: tf.Tensor3D | undefined; readonly rng: RandomStream | undefined },
  ): Stream {
    if (isSkipped(this)) return { h: tf.clone(h), residual: residual ? tf.clone(residual) : tf.zerosLike(h) };
    return tf.tidy(() => {
      const r = residual ? (tf.add(residual, dropBranch(h, this.dropPath, rng)) as tf.Tensor3D) : h;
      const n = this.norm.forward(r);
      const parts = tf.expandDims(this.adaLN_modulation[1].forward(condition), 1); //  [N, 1, 3 D or 6 D]
      const [shift1, scale1, gate1, shift2, scale2, gate2] = tf.split(parts, text ? 6 : 3, 2) as tf.Tensor3D[];
      const mixed = this.mixed(modulate(n, shift1!, scale1!));
      let out = tf.add(n, tf.mul(gate1!, mixed)) as tf.Tensor3D;
      if (text) {
        const asked = modulate(this.norm_msa!.forward(out), shift2!, scale2!);
        out = tf.add(out, tf.mul(gate2!, this.msa!.forward(asked, text)));
      }
      return { h: out, residual: tf.clone(r) };
    });
  }

  /** The mixer over the tokens in the order of the block's path. What it does to each token alone does not mind the order. */
  private mixed(x: tf.Tensor3D): tf.Tensor3D {
    if (!this.#order) return this.mixer.forward(x);
    const { path, inverse } = this.#order;
    return reordered(this.mixer.forward(reordered(x, path, inverse)), inverse, path);
  }
}

/** Attention of the tokens over the text, always 8 heads of 64. q `[N, T, D]`, text `[N, S, D] -> [N, T, D]`. */
class CrossAttention extends Module {
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: { readonly 0: Linear };

  constructor(width: number) {
    super();
    const inner = 8 * 64;
    this.to_q = new Linear(width, inner, { bias: false });
    this.to_k = new Linear(width, inner, { bias: false });
    this.to_v = new Linear(width, inner, { bias: false });
    this.to_out = { 0: new Linear(inner, width, { init: uniform(1 / Math.sqrt(inner)), biasInit: zeros }) };
  }

  forward(x: tf.Tensor3D, text: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const q = splitHeads(this.to_q.forward(x), 8); //                                [N, 8, T, 64]
      const [k, v] = this.keysAndValues(text); //                                      [N, 8, S, 64]
      return this.to_out[0].forward(joinHeads(attention(q, k, v, { by: this })));
    });
  }

  /** Of the text, the same at every step. `[N, S, D] -> 2 x [N, 8, S, 64]`. */
  keysAndValues(text: tf.Tensor3D): readonly [tf.Tensor4D, tf.Tensor4D] {
    return recalled(this, text, () => [splitHeads(this.to_k.forward(text), 8), splitHeads(this.to_v.forward(text), 8)]);
  }
}

/** Tokens in another order: row i is row path[i]. Its gradient is the other way round. */
function reordered(x: tf.Tensor3D, path: ScanPath, inverse: ScanPath): tf.Tensor3D {
  const op = tf.customGrad((x) => ({
    value: tf.gather(x as tf.Tensor3D, tf.tensor1d(path, 'int32'), 1),
    gradFunc: (dy) => reordered(dy as tf.Tensor3D, inverse, path),
  }));
  return op(x) as tf.Tensor3D;
}

/** Stochastic depth (Huang et al. 2016): leaves a branch `[N, ...]` out for an image at a rate, and scales the others up. */
function dropBranch(branch: tf.Tensor3D, rate: number, rng: RandomStream | undefined): tf.Tensor3D {
  if (rng === undefined || rate === 0) return branch;
  const kept = Array.from(rng.rand(branch.shape[0]), (u) => (u < rate ? 0 : 1 / (1 - rate)));
  return tf.mul(branch, tf.tensor3d(kept, [kept.length, 1, 1]));
}

/** The paths that the blocks take in turn; none where both directions are scanned. */
function scanPaths(config: ZigMaConfig): ScanPath[] | undefined {
  if (config.scan === 'bidirectional') return undefined;
  const all = config.scan === 'zigzag' ? zigzagPaths : hilbertPaths;
  return all(gridSide(config)).slice(0, config.paths!);
}
