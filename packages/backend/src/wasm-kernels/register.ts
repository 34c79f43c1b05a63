import * as tf from '@tensorflow/tfjs-core';
import { conv2dBackpropFilter, conv2dBackpropInput } from './conv2d-gradients.js';
import { depthwiseBackpropFilter, depthwiseBackpropInput } from './depthwise-gradients.js';
import { unsortedSegmentSum } from './unsorted-segment-sum.js';

/** A kernel made of TensorFlow.js ops. */
export type KernelBody = (inputs: Readonly<Record<string, tf.Tensor | undefined>>, attributes: unknown) => tf.Tensor;

/** Kernels that training needs and `@tensorflow/tfjs-backend-wasm` has not. */
const MISSING: Readonly<Record<string, KernelBody>> = {
  Conv2DBackpropFilter: conv2dBackpropFilter,
  DepthwiseConv2dNativeBackpropFilter: depthwiseBackpropFilter,
  DepthwiseConv2dNativeBackpropInput: depthwiseBackpropInput,
  UnsortedSegmentSum: unsortedSegmentSum,
};

/** Kernels that it has, but 10 to 40 times slower than need be. */
const SLOW: Readonly<Record<string, KernelBody>> = {
  Conv2DBackpropInput: conv2dBackpropInput,
};

/** Gives the wasm backend the kernels that it misses for training. Calling it again changes nothing. */
export function registerWasmKernels(): void {
  for (const [name, body] of Object.entries(MISSING)) if (tf.getKernel(name, 'wasm') == null) register(name, body);
  for (const [name, body] of Object.entries(SLOW)) {
    const present = tf.getKernel(name, 'wasm');
    if (present == null || OURS.has(present.kernelFunc)) continue;
    tf.unregisterKernel(name, 'wasm');
    register(name, body);
  }
}

const OURS = new WeakSet<tf.KernelFunc>();

function register(kernelName: string, body: KernelBody): void {
  const kernelFunc: tf.KernelFunc = ({ inputs, attrs }) =>
    tf.tidy(() => body(inputs as Record<string, tf.Tensor | undefined>, attrs));
  OURS.add(kernelFunc);
  tf.registerKernel({ kernelName, backendName: 'wasm', kernelFunc });
}
