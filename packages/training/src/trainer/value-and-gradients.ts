import { MezzotintError, type Param } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** A loss and its gradients by state-dict key; the caller disposes them. */
export interface ValueAndGradients {
  readonly value: tf.Scalar;
  readonly gradients: Map<string, tf.Tensor>;
}

/**
 * The loss and its gradients for those of `params` that it depends on.
 *
 * @throws MezzotintError when it depends on none of them
 */
export function valueAndGradients(params: ReadonlyMap<string, Param>, loss: () => tf.Scalar): ValueAndGradients {
  const paths = new Map([...params].map(([path, param]) => [param.variable.name, path]));
  const variables = [...params.values()].map((param) => param.variable);
  try {
    const { value, grads } = tf.variableGrads(() => tf.tidy(loss), variables);
    return { value, gradients: new Map(Object.entries(grads).map(([name, g]) => [paths.get(name)!, g])) };
  } catch (cause) {
    if (!(cause instanceof Error && cause.message.includes('Cannot find a connection'))) throw cause;
    throw new MezzotintError(
      'MEZZOTINT_NO_GRADIENT',
      'The loss does not depend on any trainable parameter: compute it with the forward pass of the model that is trained.',
      {},
      { cause },
    );
  }
}
