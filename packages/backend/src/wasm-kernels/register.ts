import * as tf from '@tensorflow/tfjs-core';
import { conv2dBackpropFilter, conv2dBackpropInput } from './conv2d-gradients.js';
import { depthwiseBackpropFilter, depthwiseBackpropInput } from './depthwise-gradients.js';
import type { KernelBody, KernelInputs, KernelReplacement } from './kernel.js';
import { matMul } from './matmul.js';
import { mean, sum } from './reductions.js';
import { unsortedSegmentSum } from './unsorted-segment-sum.js';

/** Kernels that training needs and `@tensorflow/tfjs-backend-wasm` lacks. */
const MISSING: Readonly<Record<string, KernelBody>> = {
  Conv2DBackpropFilter: conv2dBackpropFilter,
  DepthwiseConv2dNativeBackpropFilter: depthwiseBackpropFilter,
  DepthwiseConv2dNativeBackpropInput: depthwiseBackpropInput,
  UnsortedSegmentSum: unsortedSegmentSum,
};

/** Kernels that it has, but wrong or many times slower than need be. */
const REPLACED: Readonly<Record<string, KernelReplacement>> = {
  BatchMatMul: matMul,
  _FusedMatMul: matMul,
  Conv2DBackpropInput: conv2dBackpropInput,
  Sum: sum,
  Mean: mean,
};

const ours = new WeakSet<tf.KernelFunc>();

/**
 * Gives TensorFlow.js's wasm backend the kernels that it misses for training, and better ones for those that are wrong
 * or slow. Call it after importing `@tensorflow/tfjs-backend-wasm` and before `tf.setBackend('wasm')`; `useBackend` does.
 * Calling it again changes nothing.
 */
export function registerWasmKernels(): void {
  for (const [kernelName, body] of Object.entries(MISSING)) {
    if (tf.getKernel(kernelName, 'wasm') == null)
      tf.registerKernel({ kernelName, backendName: 'wasm', kernelFunc: kernel(body) });
  }
  for (const [kernelName, body] of Object.entries(REPLACED)) {
    const present = tf.getKernel(kernelName, 'wasm');
    if (present == null || ours.has(present.kernelFunc)) continue;
    tf.unregisterKernel(kernelName, 'wasm');
    tf.registerKernel({ ...present, kernelFunc: kernel(body, present.kernelFunc) });
  }
}

function kernel(body: KernelReplacement, replaced?: tf.KernelFunc): tf.KernelFunc {
  const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) => {
    const original: KernelBody = (given, attributes) => {
      const present = Object.entries(given).filter(([, tensor]) => tensor !== undefined);
      const info = replaced!({
        inputs: Object.fromEntries(present) as tf.NamedTensorInfoMap,
        attrs: attributes as tf.NamedAttrMap,
        backend,
      });
      return tf.engine().makeTensorFromTensorInfo(info as tf.TensorInfo);
    };
    return tf.tidy(() => body(inputs as KernelInputs, attrs, original));
  };
  ours.add(kernelFunc);
  return kernelFunc;
}
