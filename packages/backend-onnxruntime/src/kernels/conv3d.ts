import type {
  Conv3DAttrs,
  Conv3DBackpropFilterV2Attrs,
  Conv3DBackpropInputV2Attrs,
  KernelConfig,
} from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import { type ConvGeometry3, conv3d, conv3dFilterGradient, conv3dInputGradient } from '../lowering/conv3d.js';
import { kernel } from './kernel.js';
import { fittedPads } from './padding.js';

type Size3 = [number, number, number];
type Size5 = [number, number, number, number, number];

function geometry(
  kernel: string,
  input: readonly number[],
  filter: readonly number[],
  { strides, pad, dilations }: Pick<Conv3DAttrs, 'strides' | 'pad'> & Partial<Pick<Conv3DAttrs, 'dilations'>>,
): ConvGeometry3 | undefined {
  const info = backend_util.computeConv3DInfo([...input] as Size5, [...filter] as Size5, strides, dilations ?? 1, pad);
  const { front, top, left, back, bottom, right } = info.padInfo;
  const steps: Size3 = [info.strideDepth, info.strideHeight, info.strideWidth];
  const windows = {
    input: input.slice(1, 4),
    output: info.outShape.slice(1, 4),
    window: [info.effectiveFilterDepth, info.effectiveFilterHeight, info.effectiveFilterWidth],
    strides: steps,
  };
  const pads = fittedPads(kernel, windows, [front, top, left], [back, bottom, right]);
  if (pads === undefined) return undefined;
  return {
    input: [...input] as Size5,
    filter: [...filter] as Size5,
    output: info.outShape as Size5,
    strides: steps,
    dilations: [info.dilationDepth, info.dilationHeight, info.dilationWidth],
    pads: pads as [...Size3, ...Size3],
  };
}

export const conv3dKernels: readonly KernelConfig[] = [
  kernel<Conv3DAttrs>('Conv3D', (tracer, { input }, attributes) => {
    const [x, filter] = [input('x'), input('filter')];
    if (x.type !== 'float32' || filter.type !== 'float32' || attributes.dataFormat !== 'NDHWC') return undefined;
    const where = geometry(tracer.kernel, x.shape, filter.shape, attributes);
    if (where === undefined) return undefined;
    return tracer.one(conv3d(where), [x, filter], { shape: where.output, type: 'float32' });
  }),
  kernel<Conv3DBackpropInputV2Attrs>('Conv3DBackpropInputV2', (tracer, { input }, attributes) => {
    const [dy, filter] = [input('dy'), input('filter')];
    const where = geometry(tracer.kernel, attributes.inputShape, filter.shape, attributes);
    if (where === undefined || dy.type !== 'float32' || filter.type !== 'float32') return undefined;
    if (String(dy.shape) !== String(where.output)) return undefined;
    return tracer.one(conv3dInputGradient(where), [dy, filter], { shape: where.input, type: 'float32' });
  }),
  kernel<Conv3DBackpropFilterV2Attrs>('Conv3DBackpropFilterV2', (tracer, { input }, attributes) => {
    const [x, dy] = [input('x'), input('dy')];
    const where = geometry(tracer.kernel, x.shape, attributes.filterShape, attributes);
    if (where === undefined || x.type !== 'float32' || dy.type !== 'float32') return undefined;
    return tracer.one(conv3dFilterGradient(where), [x, dy], { shape: where.filter, type: 'float32' });
  }),
];
