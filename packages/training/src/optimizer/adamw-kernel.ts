import * as tf from '@tensorflow/tfjs-core';

/** Name under which an engine may register AdamW in one pass. */
export const ADAMW_KERNEL = 'MezzotintAdamW';

/** Inputs of the kernel: four tensors of one shape, and scalars `[]`, float32. */
export type AdamWKernelInputs = {
  readonly param: tf.Tensor;
  readonly gradient: tf.Tensor;
  readonly mean: tf.Tensor;
  readonly square: tf.Tensor;
  /** 1 - rate * decay */
  readonly keep: tf.Scalar;
  readonly gradientScale: tf.Scalar;
  readonly stepSize: tf.Scalar;
  readonly rootScale: tf.Scalar;
};

/** Attributes of the kernel: what never changes in a run. */
export type AdamWKernelAttributes = { readonly beta1: number; readonly beta2: number; readonly epsilon: number };

/** Outputs of the kernel, in this order; new tensors. */
export interface AdamWKernelOutputs {
  readonly param: tf.Tensor;
  readonly mean: tf.Tensor;
  readonly square: tf.Tensor;
}

/**
 * One AdamW update of one parameter:
 * g = gradientScale * gradient; mean' = mean + (g - mean)(1 - beta1); square' = beta2 square + (1 - beta2) g^2;
 * param' = keep param - stepSize mean' / (rootScale sqrt(square') + epsilon).
 * By the engine's kernel `MezzotintAdamW`, else decomposed.
 */
export function adamWKernel(inputs: AdamWKernelInputs, attributes: AdamWKernelAttributes): AdamWKernelOutputs {
  if (tf.getKernel(ADAMW_KERNEL, tf.getBackend()) !== undefined) {
    const [param, mean, square] = tf.engine().runKernel(ADAMW_KERNEL, inputs, attributes) as unknown as tf.Tensor[];
    return { param: param!, mean: mean!, square: square! };
  }
  return tf.tidy(() => {
    const { beta1, beta2, epsilon } = attributes;
    const g = tf.mul(inputs.gradient, inputs.gradientScale);
    const mean = tf.add(inputs.mean, tf.mul(tf.sub(g, inputs.mean), 1 - beta1));
    const square = tf.add(tf.mul(inputs.square, beta2), tf.mul(tf.square(g), 1 - beta2));
    const root = tf.add(tf.mul(tf.sqrt(square), inputs.rootScale), epsilon);
    const param = tf.sub(tf.mul(inputs.param, inputs.keep), tf.div(tf.mul(mean, inputs.stepSize), root));
    return { param, mean, square };
  });
}

/** Whether the engine has the fused kernel. */
export function hasAdamWKernel(): boolean {
  return tf.getKernel(ADAMW_KERNEL, tf.getBackend()) !== undefined;
}
