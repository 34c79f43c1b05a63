import { Module, renamed, type WeightSource } from '@mezzotint/core';
import { Embedding, embeddingLookup, LayerNorm, Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { checkIds } from '../ids.js';
import { causalMask } from '../masks.js';
import { type ClipTextConfig, validateClipTextConfig } from './config.js';
import { checkSkip, type HiddenStateOptions } from './skip.js';
import { towerAtHome } from './state-dict.js';
import { ClipEncoder, embeddingInit } from './transformer.js';

/** What CLIP says of texts. All tensors are new and the caller's to dispose (`tf.dispose(output)`). */
export type ClipTextOutput = {
  /** The last layer's tokens after the final norm, `[N, T, D]`. */
  readonly lastHiddenState: tf.Tensor3D;
  /** The tokens that `skip` asked for, before the final norm, `[N, T, D]`. */
  readonly hiddenState: tf.Tensor3D;
  /** The normed token that stands for each text (see `pooledToken`), `[N, D]`. */
  readonly pooled: tf.Tensor2D;
};

/** {@link ClipTextOutput} with the text's place in the space shared with images. */
export type ClipTextProjectionOutput = ClipTextOutput & {
  /** `pooled` projected, `[N, P]`, of any length. */
  readonly textEmbeds: tf.Tensor2D;
};

/** CLIP's text tower: a causal transformer over token and position embeddings. Radford et al. 2021, section 2.4. */
export class ClipTextTransformer extends Module {
  readonly embeddings: { readonly token_embedding: Embedding; readonly position_embedding: Embedding };
  readonly encoder: ClipEncoder;
  readonly final_layer_norm: LayerNorm;
  readonly config: ClipTextConfig;

  constructor(config: ClipTextConfig) {
    super();
    const { vocabSize, positions, width, epsilon } = config;
    this.config = config;
    this.embeddings = {
      token_embedding: new Embedding(vocabSize, width, { init: embeddingInit }),
      position_embedding: new Embedding(positions, width, { init: embeddingInit }),
    };
    this.encoder = new ClipEncoder(config);
    this.final_layer_norm = new LayerNorm(width, { epsilon });
  }

  forward(ids: tf.Tensor2D, { skip = 0 }: HiddenStateOptions = {}): ClipTextOutput {
    checkIds('ClipTextModel', ids, this.config.positions);
    checkSkip('ClipTextModel', skip, this.config.layers);
    return tf.tidy(() => {
      const { token_embedding, position_embedding } = this.embeddings;
      const length = ids.shape[1];
      const positions = tf.slice(position_embedding.weight.value, [0, 0], [length, this.config.width]);
      const x: tf.Tensor3D = tf.add(token_embedding.forward(ids), positions); //        [N, T, D]
      const { last, hidden } = this.encoder.forward(x, skip, causalMask(length));
      const lastHiddenState = this.final_layer_norm.forward(last);
      return { lastHiddenState, hiddenState: hidden, pooled: this.pool(lastHiddenState, ids) };
    });
  }

  /** The token of `pooledToken` of each text; the first token where a text has no such id, as in transformers. */
  private pool(states: tf.Tensor3D, ids: tf.Tensor2D): tf.Tensor2D {
    const [n, t, width] = states.shape;
    const { pooledToken } = this.config;
    const marks = pooledToken === 'largest' ? ids : tf.cast(tf.equal(ids, tf.scalar(pooledToken, 'int32')), 'int32');
    const at = tf.cast(tf.argMax(marks, 1), 'int32'); //                                [N]
    const rows = tf.add(at, tf.mul(tf.range(0, n, 1, 'int32'), tf.scalar(t, 'int32')));
    return embeddingLookup(tf.reshape(states, [n * t, width]), rows) as tf.Tensor2D;
  }
}

/**
 * CLIP's text encoder without projection, as Stable Diffusion 1 (ViT-L/14) and 2 (ViT-H/14, 23 layers) use it.
 * State: transformers' `CLIPTextModel` as published, `text_model.…`.
 */
export class ClipTextModel extends Module {
  readonly text_model: ClipTextTransformer;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClipTextConfig) {
    super();
    validateClipTextConfig('ClipTextModel', config);
    this.text_model = new ClipTextTransformer(config);
  }

  get config(): ClipTextConfig {
    return this.text_model.config;
  }

  /**
   * ids int32 `[N, T]` in [0, vocabSize), T at most `positions`.
   *
   * @throws InvalidArgumentError when the ids have another shape or type, or when there are fewer layers than `skip`
   */
  forward(ids: tf.Tensor2D, options?: HiddenStateOptions): ClipTextOutput {
    return this.text_model.forward(ids, options);
  }

  /** Takes the names of transformers 5 (without `text_model.`) and leaves out `position_ids` and a projection, which is not used. */
  override adaptWeights(source: WeightSource): WeightSource {
    const unused = 'text_projection.weight'; // Some files of Stable Diffusion 2 have it, and transformers passes it over.
    const shape = source.tensors.get(unused)?.shape;
    const isProjection = shape?.length === 2 && shape[1] === this.config.width;
    return renamed(towerAtHome(source, 'text_model.'), (name) => (isProjection && name === unused ? undefined : name));
  }
}

/**
 * CLIP's text encoder with projection, as Stable Diffusion XL (OpenCLIP ViT-bigG/14) and 3 use it.
 * State: transformers' `CLIPTextModelWithProjection`, `text_model.…` and `text_projection.weight`.
 */
export class ClipTextModelWithProjection extends Module {
  readonly config: ClipTextConfig & { readonly projection: number };
  readonly text_model: ClipTextTransformer;
  readonly text_projection: Linear;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: ClipTextConfig & { readonly projection: number }) {
    super();
    this.config = config;
    validateClipTextConfig('ClipTextModelWithProjection', config);
    this.text_model = new ClipTextTransformer(config);
    this.text_projection = new Linear(config.width, config.projection, { bias: false });
  }

  /**
   * ids int32 `[N, T]` in [0, vocabSize), T at most `positions`.
   *
   * @throws InvalidArgumentError when the ids have another shape or type, or when there are fewer layers than `skip`
   */
  forward(ids: tf.Tensor2D, options?: HiddenStateOptions): ClipTextProjectionOutput {
    return tf.tidy(() => {
      const output = this.text_model.forward(ids, options);
      return { ...output, textEmbeds: this.text_projection.forward(output.pooled) };
    });
  }

  /** Leaves out `position_ids`. */
  override adaptWeights(source: WeightSource): WeightSource {
    return towerAtHome(source, 'text_model.');
  }
}
