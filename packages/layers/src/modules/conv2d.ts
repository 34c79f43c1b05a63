import { type Initializer, Module, Param, uniform } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { conv2d, type Padding } from '../ops/conv2d.js';

export interface Conv2dModuleOptions {
  /** 1 when absent. */
  readonly stride?: 1 | 2;
  /** (kernel - 1) / 2 when absent. */
  readonly padding?: Padding;
  /** True when absent. */
  readonly bias?: boolean;
  /** Of weight and bias; PyTorch's U(-1/sqrt(fanIn), 1/sqrt(fanIn)) when absent, `zeros` for a zero module. */
  readonly init?: Initializer;
}

/** A convolution with a square kernel. State: `weight` `[out, in, k, k]` in files and `[k, k, in, out]` in memory, `bias` `[out]`. */
export class Conv2d extends Module {
  readonly weight: Param;
  readonly bias: Param | null;
  readonly stride: 1 | 2;
  readonly padding: Padding;

  constructor(
    inputs: number,
    outputs: number,
    kernel: number,
    {
      stride = 1,
      padding = (kernel - 1) / 2,
      bias = true,
      init = uniform(1 / Math.sqrt(inputs * kernel * kernel)),
    }: Conv2dModuleOptions = {},
  ) {
    super();
    this.weight = new Param([kernel, kernel, inputs, outputs], { init, layout: 'conv2d' });
    this.bias = bias ? new Param([outputs], { init }) : null;
    this.stride = stride;
    this.padding = padding;
  }

  /** x `[N, H, W, in]` -> `[N, H', W', out]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return conv2d(x, this.weight.value, this.bias?.value ?? null, { stride: this.stride, padding: this.padding });
  }
}
