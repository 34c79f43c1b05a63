import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { OnnxRuntimeBackend } from './backend.js';
import { adamWKernel } from './kernels/adamw.js';
import { complexKernels } from './kernels/complex.js';
import { conv3dKernels } from './kernels/conv3d.js';
import { convolutionKernels } from './kernels/convolution.js';
import { depthwiseGradientKernels } from './kernels/depthwise-gradient.js';
import { einsumKernel } from './kernels/einsum.js';
import { elementwiseKernels } from './kernels/elementwise.js';
import { fusedKernels } from './kernels/fused.js';
import { gatherKernels } from './kernels/gather.js';
import { imageKernels } from './kernels/image.js';
import { handedOver } from './kernels/kernel.js';
import { linearKernels } from './kernels/linear.js';
import { normalizationKernels } from './kernels/normalization.js';
import { poolingKernels } from './kernels/pooling.js';
import { reduceKernels } from './kernels/reduce.js';
import { resizeGradientKernels } from './kernels/resize-gradient.js';
import { scatterKernels } from './kernels/scatter.js';
import { shapeKernels } from './kernels/shape.js';

/** Above wasm (2) and cpu (1), below tfjs-node's own (3 with a GPU): who imports this wants it. */
const PRIORITY = 3;

/** Registers the backend `onnxruntime` and its kernels with TensorFlow.js. Doing it twice changes nothing. */
export function register(): void {
  if (tf.engine().registryFactory.onnxruntime !== undefined) return;
  tf.registerBackend('onnxruntime', () => new OnnxRuntimeBackend(), PRIORITY);
  const own = [
    ...elementwiseKernels,
    ...reduceKernels,
    ...shapeKernels,
    ...linearKernels,
    ...convolutionKernels,
    ...conv3dKernels,
    ...depthwiseGradientKernels,
    ...imageKernels,
    ...poolingKernels,
    ...resizeGradientKernels,
    ...normalizationKernels,
    ...complexKernels,
    ...scatterKernels,
    einsumKernel,
    ...gatherKernels,
    ...fusedKernels,
    adamWKernel,
  ];
  const names = new Set(own.map(({ kernelName }) => kernelName));
  for (const config of own) tf.registerKernel(config);
  for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
    if (!names.has(kernelName)) tf.registerKernel(handedOver(kernelName));
  }
}
