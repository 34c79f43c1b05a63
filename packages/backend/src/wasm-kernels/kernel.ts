import type * as tf from '@tensorflow/tfjs-core';

/** Tensors by the names of a kernel's inputs. */
export type KernelInputs = Readonly<Record<string, tf.Tensor | undefined>>;

/** A kernel made of TensorFlow.js ops. */
export type KernelBody = (inputs: KernelInputs, attributes: unknown) => tf.Tensor;

/** A kernel that may still call the one that it replaces. */
export type KernelReplacement = (inputs: KernelInputs, attributes: unknown, original: KernelBody) => tf.Tensor;
