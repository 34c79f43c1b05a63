import { type Initializer, Module, Param, uniform } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { patchify } from '../ops/patchify.js';

export interface PatchEmbedOptions {
  /** True when absent. */
  readonly bias?: boolean;
  /** Of weight and bias; PyTorch's U(-1/sqrt(fanIn), 1/sqrt(fanIn)) when absent. */
  readonly init?: Initializer;
  /** Of the bias where it differs from `init`. */
  readonly biasInit?: Initializer;
}

/**
 * A linear map of each patch of p x p pixels, which files keep as a convolution of kernel and stride p. Dosovitskiy et al.
 * 2021 (ViT), eq. 1. State: `proj.weight` `[D, C, p, p]` in files and `[p, p, C, D]` in memory, `proj.bias` `[D]`.
 */
export class PatchEmbed extends Module {
  readonly proj: { readonly weight: Param; readonly bias: Param | null };
  readonly patchSize: number;

  constructor(
    patchSize: number,
    inputs: number,
    width: number,
    { bias = true, init = uniform(1 / (patchSize * Math.sqrt(inputs))), biasInit = init }: PatchEmbedOptions = {},
  ) {
    super();
    this.patchSize = patchSize;
    this.proj = {
      weight: new Param([patchSize, patchSize, inputs, width], { init, layout: 'conv2d' }),
      bias: bias ? new Param([width], { init: biasInit }) : null,
    };
  }

  /** x `[N, H, W, C]` -> one token a patch, row by row, `[N, (H/p) (W/p), D]`. */
  forward(x: tf.Tensor4D): tf.Tensor3D {
    return tf.tidy(() => {
      const patches = patchify(x, this.patchSize); //                                 [N, T, p p C]
      const [n, t, size] = patches.shape;
      const kernel = tf.reshape(this.proj.weight.value, [size, -1]) as tf.Tensor2D; // [p p C, D]
      const y = tf.matMul(tf.reshape(patches, [n * t, size]), kernel);
      const bias = this.proj.bias?.value;
      return tf.reshape(bias === undefined ? y : tf.add(y, bias), [n, t, kernel.shape[1]]);
    });
  }
}
