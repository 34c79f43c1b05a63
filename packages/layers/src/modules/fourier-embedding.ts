import { InvalidArgumentError, Module, normal, Param, type ParamOptions } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { sinusoids } from '../timestep-embedding.js';

export interface FourierEmbeddingOptions {
  /** Standard deviation of the frequencies; 16 when absent. */
  readonly scale?: number;
}

/**
 * Random Fourier features of a time: cos(2 pi t f) and sin(2 pi t f) with fixed f ~ N(0, scale^2). Tancik et al. 2020;
 * in the order and spelling of EDM's NCSN++. State: `freqs` `[width / 2]`, not trained.
 */
export class FourierEmbedding extends Module {
  readonly freqs: Param;

  /** @throws InvalidArgumentError when width is odd */
  constructor(width: number, { scale = 16 }: FourierEmbeddingOptions = {}) {
    super();
    this.freqs = frequencies('FourierEmbedding', width, { init: normal(scale), buffer: true });
  }

  /** t `[N]` -> `[N, width]`. */
  forward(t: tf.Tensor1D): tf.Tensor2D {
    return tf.tidy(() => sinusoids(t, tf.mul(this.freqs.value, 2 * Math.PI), 'cos-sin'));
  }
}

/**
 * The same features with the sine first and the spelling of the score-SDE code (Song et al. 2021, appendix C). State:
 * `W` `[width / 2]`, not trained.
 */
export class GaussianFourierProjection extends Module {
  readonly W: Param;

  /** @throws InvalidArgumentError when width is odd */
  constructor(width: number, { scale = 16 }: FourierEmbeddingOptions = {}) {
    super();
    this.W = frequencies('GaussianFourierProjection', width, { init: normal(scale), trainable: false });
  }

  /** t `[N]` -> `[N, width]`. */
  forward(t: tf.Tensor1D): tf.Tensor2D {
    return tf.tidy(() => sinusoids(t, tf.mul(this.W.value, 2 * Math.PI), 'sin-cos'));
  }
}

function frequencies(who: string, width: number, options: ParamOptions): Param {
  if (width % 2 !== 0) throw new InvalidArgumentError(who, `expected an even width, got ${width}`);
  return new Param([width / 2], options);
}
