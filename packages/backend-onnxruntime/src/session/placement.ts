import { nodeName, type OnnxGraph, type OnnxNode } from '../onnx/model.js';

/**
 * The execution providers of a graph's session, in order of preference: what the first cannot run falls to the cpu. WebGPU
 * says that it can run some nodes which it then refuses or gets wrong, so those are taken from it by name.
 */
export function placement(graph: OnnxGraph, provider: string): readonly (string | object)[] {
  if (provider === 'cpu') return ['cpu'];
  if (provider !== 'webgpu') return [provider, 'cpu'];
  const forceCpuNodeNames = graph.nodes.flatMap((node, index) => (failsOnWebGpu(node) ? [nodeName(node, index)] : []));
  // Graphs come with their layouts; strided and grouped convolutions of ONNX Runtime 1.30 are wrong in its own (NHWC).
  const forced = forceCpuNodeNames.length === 0 ? {} : { forceCpuNodeNames }; // an empty list is refused
  return [{ name: 'webgpu', preferredLayout: 'NCHW', ...forced }, 'cpu'];
}

function failsOnWebGpu({ op, outputs, attributes }: OnnxNode): boolean {
  switch (op) {
    // WGSL promises an error of 2^-11 between -pi and pi and nothing beyond, where times and positions are.
    case 'Sin':
    case 'Cos':
      return true;
    // Wrong from 64 tokens on, where it goes over to flash attention.
    case 'MultiHeadAttention':
      return true;
    case 'MaxPool':
      return outputs.length > 1; // with the places of the maxima
    case 'ConvTranspose':
      return (attributes?.strides as readonly number[] | undefined)?.length === 3; // three spatial axes
    default:
      return false;
  }
}
