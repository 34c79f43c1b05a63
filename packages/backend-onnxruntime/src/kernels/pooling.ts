import type { AvgPool3DAttrs, AvgPoolGradAttrs, KernelConfig, MaxPoolGradAttrs } from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import { averageGradient, maximumGradient, poolWindows, type WindowGeometry } from '../lowering/pooling.js';
import { kernel } from './kernel.js';
import { fittedPads } from './padding.js';

type Size4 = [number, number, number, number];
type Size5 = [number, number, number, number, number];
type Given3 = Pick<AvgPool3DAttrs, 'filterSize' | 'strides' | 'pad' | 'dimRoundingMode'>;
type Given = Pick<MaxPoolGradAttrs, 'filterSize' | 'strides' | 'pad'> &
  Partial<Pick<MaxPoolGradAttrs, 'dimRoundingMode'>>;

/**
 * Windows as ONNX wants them, with pads smaller than the window; undefined where they cannot be. A gradient gives the
 * output's shape: TensorFlow.js does not tell it how the sizes were rounded.
 */
export function planar(
  kernel: string,
  shape: readonly number[],
  given: Given,
  output?: readonly number[],
): WindowGeometry | undefined {
  const { filterSize, strides, pad, dimRoundingMode } = given;
  const info = backend_util.computePool2DInfo([...shape] as Size4, filterSize, strides, 1, pad, dimRoundingMode);
  const { top, left, bottom, right } = info.padInfo;
  const window = [info.filterHeight, info.filterWidth];
  const steps = [info.strideHeight, info.strideWidth];
  return fitted(kernel, shape, output ?? info.outShape, window, steps, [top, left], [bottom, right]);
}

function spatial(
  kernel: string,
  shape: readonly number[],
  given: Given3,
  output?: readonly number[],
): WindowGeometry | undefined {
  const { filterSize, strides, pad, dimRoundingMode } = given;
  const info = backend_util.computePool3DInfo([...shape] as Size5, filterSize, strides, 1, pad, dimRoundingMode);
  const { front, top, left, back, bottom, right } = info.padInfo;
  const window = [info.filterDepth, info.filterHeight, info.filterWidth];
  const steps = [info.strideDepth, info.strideHeight, info.strideWidth];
  return fitted(kernel, shape, output ?? info.outShape, window, steps, [front, top, left], [back, bottom, right]);
}

function fitted(
  kernel: string,
  input: readonly number[],
  output: readonly number[],
  window: readonly number[],
  strides: readonly number[],
  before: readonly number[],
  after: readonly number[],
): WindowGeometry | undefined {
  const windows = { input: input.slice(1, -1), output: output.slice(1, -1), window, strides };
  const pads = fittedPads(kernel, windows, before, after);
  if (pads === undefined || pads.some((pad, at) => pad >= window[at % window.length]!)) return undefined;
  return { input, output, window, strides, pads };
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
      const where = spatial(tracer.kernel, x.shape, attributes);
      if (where === undefined) return undefined;
      return tracer.one(poolWindows({ op, ...where }), [x], { shape: where.output, type: 'float32' });
    }),
  ),
  kernel<AvgPoolGradAttrs>('AvgPoolGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = planar(tracer.kernel, x.shape, attributes, dy.shape);
    if (dy.type !== 'float32' || where === undefined) return undefined;
    return tracer.one(averageGradient(where), [dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<AvgPool3DAttrs>('AvgPool3DGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = spatial(tracer.kernel, x.shape, attributes, dy.shape);
    if (dy.type !== 'float32' || where === undefined) return undefined;
    return tracer.one(averageGradient(where), [dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<MaxPoolGradAttrs>('MaxPoolGrad', (tracer, { input }, attributes) => {
    const [dy, x] = [input('dy'), input('input')];
    const where = planar(tracer.kernel, x.shape, attributes, dy.shape);
    if (dy.type !== 'float32' || x.type !== 'float32' || where === undefined) return undefined;
    return tracer.one(maximumGradient(where), [x, dy], { shape: x.shape, type: 'float32' });
  }),
];
