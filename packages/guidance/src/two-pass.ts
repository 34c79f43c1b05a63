import { type Denoiser, InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import type { Parameterisation } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Makes the guided prediction of the conditional and the unconditional one, all `[N, H, W, C]`. A new tensor; the two
 * that it is given stay the caller's.
 */
export type Combination = (conditional: tf.Tensor4D, unconditional: tf.Tensor4D, at: NoiseLevel) => tf.Tensor4D;

/** What every guidance by two passes needs. */
export interface TwoPassOptions<C> {
  /** What the model is given instead of the condition: its null label, the empty or a negative prompt. */
  readonly unconditional: C;
  /**
   * Puts two conditions one after the other along the batch. When given, both passes are one over a batch of twice the
   * size, `[conditional; unconditional]`.
   */
  readonly join?: ((cond: C, unconditional: C) => C) | undefined;
}

/** For combinations that are not linear: they say different things on x0, eps, v and velocities. */
export interface PredictionOption {
  /**
   * What the combination works on: `epsilon`, `vPrediction`, `flow`, ... of @mezzotint/schedulers; the x0 estimates when
   * left out.
   */
  readonly prediction?: Parameterisation | undefined;
}

/**
 * Guidance by any combination of a conditional and an unconditional pass: your own, or one of `combine...`.
 *
 * @param skip levels at which the combination is the conditional prediction, so that the second pass is not run
 * @returns a denoiser of x `[N, H, W, C]`
 * @throws InvalidArgumentError (when called) where `prediction` says nothing about x0, as eps does at alpha = 0
 */
export function guided<C>(
  denoiser: Denoiser<C>,
  combine: Combination,
  { unconditional, join, prediction }: TwoPassOptions<NoInfer<C>> & PredictionOption,
  skip: (at: NoiseLevel) => boolean = () => false,
): Denoiser<C> {
  return (x, at, cond) =>
    tf.tidy(() => {
      if (skip(at)) return tf.clone(denoiser(x, at, cond));
      const [conditional, free] = join
        ? halves(denoiser(tf.concat([x, x], 0), at, join(cond, unconditional)))
        : [denoiser(x, at, cond), denoiser(x, at, unconditional)];
      if (!prediction) return combine(conditional, free, at);
      const { toPrediction, toEstimate } = conversion(prediction, x, at);
      return toEstimate(combine(toPrediction(conditional), toPrediction(free), at));
    });
}

/** `[2N, H, W, C]` -> twice `[N, H, W, C]`. */
function halves(both: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D] {
  return tf.split(both, 2, 0) as [tf.Tensor4D, tf.Tensor4D];
}

/** F = (D - skip x) / output and back: D is affine in any prediction F at a fixed x. */
function conversion(prediction: Parameterisation, x: tf.Tensor4D, at: NoiseLevel) {
  const { skip, output } = prediction(at);
  if (!(Number.isFinite(skip) && Number.isFinite(output) && output !== 0)) {
    throw new InvalidArgumentError(
      'guidance',
      `this prediction and x0 do not determine each other at alpha ${at.alpha}, sigma ${at.sigma}: combine another prediction, or x0 (leave it out)`,
    );
  }
  return {
    toPrediction: (x0: tf.Tensor4D) => tf.div<tf.Tensor4D>(tf.sub(x0, tf.mul(x, skip)), output),
    toEstimate: (f: tf.Tensor4D) => tf.add<tf.Tensor4D>(tf.mul(x, skip), tf.mul(f, output)),
  };
}
