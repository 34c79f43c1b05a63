import { type Initializer, Module, normal, Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { mpConv, unitVarianceWeight } from '../ops/magnitude-preserving.js';

/**
 * A linear layer (kernel 0) or a convolution with a square kernel that keeps the magnitude of its input: no bias, and
 * weights that are normalised in every pass. EDM2, eq. 47. State: `weight` `[out, in]`, or `[out, in, k, k]` in files and
 * `[k, k, in, out]` in memory; N(0, 1) at the start.
 */
export class MPConv extends Module {
  readonly weight: Param;

  constructor(inputs: number, outputs: number, kernel: number) {
    super();
    this.weight =
      kernel === 0
        ? new Param([outputs, inputs], { init: normal(1) })
        : new Param([kernel, kernel, inputs, outputs], { init: normal(1), layout: 'conv2d' });
  }

  /** x `[N, in]` or `[N, H, W, in]` -> `[N, out]` or `[N, H, W, out]`, times `gain` (1 when absent). */
  forward<T extends tf.Tensor>(x: T, gain?: tf.Tensor): T {
    return mpConv(x, this.weight.value, gain);
  }

  /**
   * Forced weight normalisation: scales each output unit's weights to unit variance, in place. EDM2, section 2.3: called
   * before each training step (that is, after each update), it keeps Adam's effective learning rate from decaying.
   */
  forceNormalization(): void {
    tf.tidy(() => this.weight.variable.assign(unitVarianceWeight(this.weight.value)));
  }
}

/**
 * Forced weight normalisation of every layer of a model that has it: called before each training step (the loop's
 * `beforeForward`), after the averages of the step before saw the weights as the optimizer left them. EDM2, section 2.3.
 */
export function forceWeightNormalization(model: Module): void {
  for (const module of model.modules().values()) {
    (module as { forceNormalization?: () => void }).forceNormalization?.();
  }
}

/** Whether a model has layers that normalise their weights in every pass, as EDM2's. */
export function takesNormsOfWeights(model: Module): boolean {
  return [...model.modules().values()].some((module) => 'forceNormalization' in module);
}

/**
 * Fourier features of a number with random frequencies and phases that keep unit variance: sqrt(2) cos(f t + p) with
 * fixed f = 2 pi N(0, bandwidth^2) and p = 2 pi U(0, 1). EDM2, eq. 75. State: `freqs` `[width]`, `phases` `[width]`, not
 * trained.
 */
export class MPFourier extends Module {
  readonly freqs: Param;
  readonly phases: Param;

  constructor(width: number, { bandwidth = 1 }: { readonly bandwidth?: number } = {}) {
    super();
    const phases: Initializer = ([n], rng) => rng.rand(n!).map((u) => 2 * Math.PI * u);
    this.freqs = new Param([width], { init: normal(2 * Math.PI * bandwidth), buffer: true });
    this.phases = new Param([width], { init: phases, buffer: true });
  }

  /** t `[N]` -> `[N, width]`. */
  forward(t: tf.Tensor1D): tf.Tensor2D {
    return tf.tidy(() => {
      const angle = tf.add(tf.mul(tf.reshape(t, [-1, 1]), this.freqs.value), this.phases.value);
      return tf.mul(tf.cos(angle), Math.SQRT2) as tf.Tensor2D;
    });
  }
}
