import { type Initializer, Module, Param, uniform } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';
import { linear } from '../ops/linear.js';

export interface LinearOptions {
  /** True when absent. */
  readonly bias?: boolean;
  /** Of weight and bias; PyTorch's U(-1/sqrt(in), 1/sqrt(in)) when absent, `zeros` for a zero module. */
  readonly init?: Initializer;
  /** Of the bias where it differs from `init`. */
  readonly biasInit?: Initializer;
}

/** y = x W^T + b. State: `weight` `[out, in]`, `bias` `[out]`. */
export class Linear extends Module {
  readonly weight: Param;
  readonly bias: Param | null;

  constructor(
    inputs: number,
    outputs: number,
    { bias = true, init = uniform(1 / Math.sqrt(inputs)), biasInit = init }: LinearOptions = {},
  ) {
    super();
    this.weight = new Param([outputs, inputs], { init, matrix: true });
    this.bias = bias ? new Param([outputs], { init: biasInit }) : null;
  }

  /** x `[..., in]` -> `[..., out]`. */
  forward<T extends tf.Tensor>(x: T): T {
    return linear(x, this.weight.value, this.bias?.value ?? null);
  }
}
