import type {
  DepthwiseConv2dNativeBackpropFilterAttrs,
  DepthwiseConv2dNativeBackpropInputAttrs,
  KernelConfig,
} from '@tensorflow/tfjs-core';
import { depthwiseFilterGradient, depthwiseInputGradient } from '../lowering/depthwise-gradient.js';
import { geometry } from './convolution.js';
import { kernel } from './kernel.js';

export const depthwiseGradientKernels: readonly KernelConfig[] = [
  kernel<DepthwiseConv2dNativeBackpropInputAttrs>(
    'DepthwiseConv2dNativeBackpropInput',
    (tracer, { input }, attributes) => {
      const [dy, filter] = [input('dy'), input('filter')];
      const how = { depthwise: true, output: dy.shape };
      const where = geometry(tracer.kernel, attributes.inputShape, filter.shape, attributes as never, how);
      if (where === undefined || dy.type !== 'float32' || filter.type !== 'float32') return undefined;
      return tracer.one(depthwiseInputGradient(where), [dy, filter], { shape: where.input, type: 'float32' });
    },
  ),
  kernel<DepthwiseConv2dNativeBackpropFilterAttrs>(
    'DepthwiseConv2dNativeBackpropFilter',
    (tracer, { input }, attributes) => {
      const [x, dy] = [input('x'), input('dy')];
      const how = { depthwise: true, output: dy.shape };
      const where = geometry(tracer.kernel, x.shape, attributes.filterShape, attributes as never, how);
      if (where === undefined || x.type !== 'float32' || dy.type !== 'float32') return undefined;
      return tracer.one(depthwiseFilterGradient(where), [x, dy], { shape: where.filter, type: 'float32' });
    },
  ),
];
