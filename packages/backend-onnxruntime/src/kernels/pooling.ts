import type { AvgPool3DAttrs, AvgPoolGradAttrs, KernelConfig, MaxPoolGradAttrs } from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import { averageGradient, leftOver, maximumGradient, poolWindows, type WindowGeometry } from '../lowering/pooling.js';
import { kernel } from './kernel.js';

type Size4 = [number, number, number, number];
type Size5 = [number, number, number, number, number];
type Given = Pick<MaxPoolGradAttrs, 'filterSize' | 'strides' | 'pad'> &
  Partial<Pick<MaxPoolGradAttrs, 'dimRoundingMode'>>;

function planar(shape: readonly number[], { filterSize, strides, pad, dimRoundingMode }: Given): WindowGeometry {
  const info = backend_util.computePool2DInfo([...shape] as Size4, filterSize, strides, 1, pad, dimRoundingMode);
  const { top, left, bottom, right } = info.padInfo;
  return {
    input: shape,
    output: info.outShape,
    window: [info.filterHeight, info.filterWidth],
    strides: [info.strideHeight, info.strideWidth],
    pads: [top, left, bottom, right],
  };
}

function spatial(
  shape: readonly number[],
  {
    filterSize,
    strides,
    pad,
    dimRoundingMode,
  }: Pick<AvgPool3DAttrs, 'filterSize' | 'strides' | 'pad' | 'dimRoundingMode'>,
): WindowGeometry {
  const info = backend_util.computePool3DInfo([...shape] as Size5, filterSize, strides, 1, pad, dimRoundingMode);
  const { front, top, left, back, bottom, right } = info.padInfo;
  return {
    input: shape,
    output: info.outShape,
    window: [info.filterDepth, info.filterHeight, info.filterWidth],
    strides: [info.strideDepth, info.strideHeight, info.strideWidth],
    pads: [front, top, left, back, bottom, right],
  };
}

/** ONNX wants pads smaller than the window, and windows that lie in the padded map. */
function fits(geometry: WindowGeometry): boolean {
  const { window, pads, strides } = geometry;
  const rest = leftOver(geometry);
  return (
    pads.every((pad, at) => pad < window[at % window.length]!) && rest.every((n, axis) => n >= 0 && n < strides[axis]!)
  );
}

export const poolingKernels: readonly KernelConfig[] = [
  ...(
    [
      ['AvgPool3D', 'AveragePool'],
      ['MaxPool3D', 'MaxPool'],
    ] as const
  ).map(([name, op]) =>
    kernel<AvgPool3DAttrs>(name, (tracer, { input }, attributes) => {
      const x = input('x');
      if (x.type !== 'float32' || attributes.dataFormat !== 'NDHWC') return undefined;
      const where = spatial(x.shape, attributes);
      if (!fits(where)) return undefined;
      return tracer.one(poolWindows({ op, ...where }), [x], { shape: where.output, type: 'float32' });
    }),
  ),
  kernel<AvgPoolGradAttrs>('AvgPoolGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = planar(x.shape, attributes);
    if (dy.type !== 'float32' || !fits(where)) return undefined;
    return tracer.one(averageGradient(where), [dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<AvgPool3DAttrs>('AvgPool3DGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = spatial(x.shape, attributes);
    if (dy.type !== 'float32' || !fits(where)) return undefined;
    return tracer.one(averageGradient(where), [dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<MaxPoolGradAttrs>('MaxPoolGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = planar(x.shape, attributes);
    if (dy.type !== 'float32' || x.type !== 'float32' || !fits(where)) return undefined;
    return tracer.one(maximumGradient(where), [x, dy], { shape: x.shape, type: 'float32' });
  }),
];
