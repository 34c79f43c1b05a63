import { MezzotintError, type Param, withoutGradient } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** What a loss gives: one number an example `[N]`, or one for the batch. */
export type LossValue = tf.Tensor1D | tf.Scalar;

/** Takes note of a part of a loss, which is logged as its mean; may be called from within a tidy. The tensor stays the caller's. */
export type Observe = (name: string, value: tf.Tensor) => void;

/** The mean loss, its gradients by the key of the parameter, and what it observed, one scalar a call; the caller disposes them. */
export interface ValueAndGradients {
  readonly value: tf.Scalar;
  readonly gradients: Map<string, tf.Tensor>;
  readonly observed: ReadonlyMap<string, readonly tf.Scalar[]>;
}

/**
 * The mean of a loss over the examples, and its gradients for those of `params` that it depends on.
 *
 * @throws MezzotintError `MEZZOTINT_NO_GRADIENT` when it depends on none of them
 */
export function valueAndGradients(
  params: ReadonlyMap<string, Param>,
  loss: (observe: Observe) => LossValue,
): ValueAndGradients {
  const paths = new Map([...params].map(([path, param]) => [param.variable.name, path]));
  const variables = [...params.values()].map((param) => param.variable);
  const observed = new Map<string, tf.Scalar[]>();
  const observe: Observe = (name, value) => {
    const mean = tf.keep(withoutGradient(() => tf.mean<tf.Scalar>(value)));
    observed.set(name, [...(observed.get(name) ?? []), mean]);
  };
  try {
    const mean = () => tf.tidy(() => tf.mean<tf.Scalar>(loss(observe)));
    const { value, grads } = tf.variableGrads(mean, variables);
    return { value, gradients: new Map(Object.entries(grads).map(([name, g]) => [paths.get(name)!, g])), observed };
  } catch (cause) {
    tf.dispose([...observed.values()].flat());
    if (!(cause instanceof Error && cause.message.includes('Cannot find a connection'))) throw cause;
    throw new MezzotintError(
      'MEZZOTINT_NO_GRADIENT',
      'The loss does not depend on any trainable parameter: compute it with the forward pass of the model that is trained.',
      {},
      { cause },
    );
  }
}
