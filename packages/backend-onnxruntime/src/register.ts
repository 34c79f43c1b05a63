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
import { PROVIDERS } from './session/provider.js';

/** Above wasm (2) and cpu (1), below tfjs-node's own (3 with a GPU): who imports this wants it. */
const PRIORITY = 3;

/** The kernels that are written into graphs. */
const OWN: readonly tf.KernelConfig[] = [
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

/** Below every engine: a provider is taken by name only. */
const PROVIDER_PRIORITY = 0;

/**
 * Registers the backend `onnxruntime`, one for each execution provider (`onnxruntime:webgpu`), and their kernels with
 * TensorFlow.js. Doing it twice changes nothing.
 */
export function register(): void {
  if (tf.engine().registryFactory.onnxruntime !== undefined) return;
  tf.registerBackend('onnxruntime', () => new OnnxRuntimeBackend(), PRIORITY);
  for (const config of OWN) tf.registerKernel(config);
  for (const name of kernelNames().handedOver) tf.registerKernel(handedOver(name));
  for (const provider of PROVIDERS) {
    const name = `onnxruntime:${provider}`;
    tf.registerBackend(name, () => new OnnxRuntimeBackend({ provider }), PROVIDER_PRIORITY);
    tf.copyRegisteredKernels('onnxruntime', name);
  }
}

/** Names of the kernels that run in graphs, and of those that the cpu backend runs for this one. */
export function kernelNames(): { readonly lowered: readonly string[]; readonly handedOver: readonly string[] } {
  const lowered = OWN.map(({ kernelName }) => kernelName);
  const theirs = tf.getKernelsForBackend('cpu').map(({ kernelName }) => kernelName);
  return { lowered: lowered.sort(), handedOver: theirs.filter((name) => !lowered.includes(name)).sort() };
}
