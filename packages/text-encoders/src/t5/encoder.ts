import { blockBoundary, Module, normal, renamed, type WeightSource } from '@mezzotint/core';
import {
  type ActivationKind,
  activate,
  attention,
  Embedding,
  joinHeads,
  Linear,
  RmsNorm,
  splitHeads,
} from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { throwIf } from '../checks.js';
import { checkIds } from '../ids.js';
import { HIDDEN } from '../masks.js';
import { type T5EncoderConfig, validateT5Config } from './config.js';
import { relativePositionBuckets } from './relative-position.js';

/**
 * Attention without a factor on the scores, softmax(q k^T + bias) v: the factor is in the initialisation of q.
 * `[N, T, D] -> [N, T, D]`. The first layer's holds the table of relative positions, which all layers use.
 */
class T5Attention extends Module {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  readonly relative_attention_bias?: Embedding;
  readonly heads: number;

  constructor({ width, heads, headWidth, buckets }: T5EncoderConfig, isFirst: boolean) {
    super();
    this.heads = heads;
    const inner = heads * headWidth;
    const init = normal(width ** -0.5);
    this.q = new Linear(width, inner, { bias: false, init: normal((width * headWidth) ** -0.5) });
    this.k = new Linear(width, inner, { bias: false, init });
    this.v = new Linear(width, inner, { bias: false, init });
    this.o = new Linear(inner, width, { bias: false, init: normal(inner ** -0.5) });
    if (isFirst) this.relative_attention_bias = new Embedding(buckets, heads, { init });
  }

  /** `bias` `[N or 1, h, T, T]`: relative positions and padding. */
  forward(x: tf.Tensor3D, bias: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const q = splitHeads(this.q.forward(x), this.heads); //   [N, h, T, d]
      const k = splitHeads(this.k.forward(x), this.heads);
      const v = splitHeads(this.v.forward(x), this.heads);
      return this.o.forward(joinHeads(attention(q, k, v, { scale: 1, mask: bias })));
    });
  }
}

/** Two maps with a nonlinearity between: wo(act(wi x)). `[N, T, D] -> [N, T, D]`. */
class T5Mlp extends Module {
  readonly wi: Linear;
  readonly wo: Linear;
  readonly activation: ActivationKind;

  constructor(config: T5EncoderConfig) {
    super();
    this.activation = config.activation;
    this.wi = mapIn(config);
    this.wo = mapOut(config);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => this.wo.forward(activate(this.wi.forward(x), this.activation)));
  }
}

/** Gated network: wo(act(wi_0 x) * wi_1 x). Shazeer 2020, "GEGLU" for GELU. `[N, T, D] -> [N, T, D]`. */
class T5GatedMlp extends Module {
  readonly wi_0: Linear;
  readonly wi_1: Linear;
  readonly wo: Linear;
  readonly activation: ActivationKind;

  constructor(config: T5EncoderConfig) {
    super();
    this.activation = config.activation;
    this.wi_0 = mapIn(config);
    this.wi_1 = mapIn(config);
    this.wo = mapOut(config);
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() =>
      this.wo.forward(tf.mul(activate(this.wi_0.forward(x), this.activation), this.wi_1.forward(x))),
    );
  }
}

function mapIn({ width, mlpWidth }: T5EncoderConfig): Linear {
  return new Linear(width, mlpWidth, { bias: false, init: normal(width ** -0.5) });
}

function mapOut({ width, mlpWidth }: T5EncoderConfig): Linear {
  return new Linear(mlpWidth, width, { bias: false, init: normal(mlpWidth ** -0.5) });
}

/** Pre-norm transformer layer. `[N, T, D] -> [N, T, D]`. */
class T5Block extends Module {
  readonly layer: readonly [
    { readonly SelfAttention: T5Attention; readonly layer_norm: RmsNorm },
    { readonly DenseReluDense: T5Mlp | T5GatedMlp; readonly layer_norm: RmsNorm },
  ];

  constructor(config: T5EncoderConfig, isFirst: boolean) {
    super();
    const norm = () => new RmsNorm(config.width, { epsilon: config.epsilon });
    this.layer = [
      { SelfAttention: new T5Attention(config, isFirst), layer_norm: norm() },
      { DenseReluDense: config.gated ? new T5GatedMlp(config) : new T5Mlp(config), layer_norm: norm() },
    ];
  }

  forward(x: tf.Tensor3D, bias: tf.Tensor4D): tf.Tensor3D {
    const [{ SelfAttention, layer_norm: norm1 }, { DenseReluDense, layer_norm: norm2 }] = this.layer;
    return tf.tidy(() => {
      const y: tf.Tensor3D = tf.add(x, SelfAttention.forward(norm1.forward(x), bias));
      return tf.add(y, DenseReluDense.forward(norm2.forward(y)));
    });
  }
}

/** What a text is besides its ids. */
export interface T5Inputs {
  /** int32 `[N, T]`: 1 for a token, 0 for padding, which nothing looks at. All tokens count when absent. */
  readonly mask?: tf.Tensor2D;
}

/**
 * The encoder of T5, version 1.0 or 1.1. State: transformers' `T5EncoderModel`: `shared.weight`,
 * `encoder.block.N.layer.0.SelfAttention.…`, `encoder.block.N.layer.1.DenseReluDense.…`, `encoder.final_layer_norm`.
 * Raffel et al. 2020; version 1.1: Shazeer 2020.
 */
export class T5EncoderModel extends Module {
  readonly shared: Embedding;
  readonly encoder: { readonly block: readonly T5Block[]; readonly final_layer_norm: RmsNorm };
  readonly config: T5EncoderConfig;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: T5EncoderConfig) {
    super();
    validateT5Config('T5EncoderModel', config);
    this.config = config;
    this.shared = new Embedding(config.vocabSize, config.width);
    this.encoder = {
      block: Array.from({ length: config.layers }, (_, i) => new T5Block(config, i === 0)),
      final_layer_norm: new RmsNorm(config.width, { epsilon: config.epsilon }),
    };
  }

  /**
   * ids int32 `[N, T]` in [0, vocabSize) -> the last layer's normed tokens, `[N, T, D]`. Those of padding hold numbers
   * too; who must not see them, is given the mask.
   *
   * @throws InvalidArgumentError when ids or mask have another shape or type
   */
  forward(ids: tf.Tensor2D, { mask }: T5Inputs = {}): tf.Tensor3D {
    checkIds('T5EncoderModel', ids);
    const fits = mask === undefined || String(mask.shape) === String(ids.shape);
    throwIf('T5EncoderModel', fits ? [] : [`mask: expected [${ids.shape}] like ids, got [${mask?.shape}]`]);
    return tf.tidy(() => {
      const positions = this.positionBias(ids.shape[1]); //     [1, h, T, T]
      const bias = mask === undefined ? positions : tf.add<tf.Tensor4D>(positions, paddingMask(mask));
      let x = this.shared.forward(ids); //                      [N, T, D]
      for (const block of this.encoder.block) {
        const given = x;
        x = block.forward(given, bias);
        if (blockBoundary(block)) given.dispose();
      }
      return this.encoder.final_layer_norm.forward(x);
    });
  }

  /**
   * A tied second copy of the table, `encoder.embed_tokens.weight`, may be there or be the only one,
   * and the decoder of a whole T5 is left out.
   */
  override adaptWeights(source: WeightSource): WeightSource {
    return untied(encoderOf(source));
  }

  /** What is added to the scores by relative position, `[1, h, T, T]`. */
  private positionBias(length: number): tf.Tensor4D {
    const { buckets, maxDistance } = this.config;
    const ids = tf.tensor2d(relativePositionBuckets(length, buckets, maxDistance), [length, length], 'int32');
    const bias = this.encoder.block[0]!.layer[0].SelfAttention.relative_attention_bias!.forward(ids); // [T, T, h]
    return tf.expandDims(tf.transpose(bias, [2, 0, 1]), 0);
  }
}

/** Additive mask `[N, 1, 1, T]` that hides padding. */
function paddingMask(mask: tf.Tensor2D): tf.Tensor4D {
  const [n, t] = mask.shape;
  return tf.reshape(tf.mul(tf.sub(1, tf.cast(mask, 'float32')), HIDDEN), [n, 1, 1, t]);
}

/** A whole T5 without its decoder and the head on it. */
function encoderOf(source: WeightSource): WeightSource {
  return renamed(source, (name) => (/^(?:decoder\.|lm_head\.)/.test(name) ? undefined : name));
}

const TABLE = 'shared.weight';
const COPY = 'encoder.embed_tokens.weight';

/** The table of embeddings once. A copy of another shape stays, so that loading refuses it. */
function untied(source: WeightSource): WeightSource {
  const [table, copy] = [source.tensors.get(TABLE), source.tensors.get(COPY)];
  if (copy === undefined || (table !== undefined && String(table.shape) !== String(copy.shape))) return source;
  const other = table === undefined ? TABLE : undefined;
  return renamed(source, (name) => (name === COPY ? other : name));
}
