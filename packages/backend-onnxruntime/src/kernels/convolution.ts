import type {
  Conv2DAttrs,
  Conv2DBackpropFilterAttrs,
  Conv2DBackpropInputAttrs,
  DepthwiseConv2dNativeAttrs,
  FusedConv2DAttrs,
  FusedDepthwiseConv2DAttrs,
  KernelConfig,
} from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { type ConvGeometry, conv2d, conv2dInputGradient, depthwiseConv2d } from '../lowering/conv.js';
import { conv2dFilterGradient } from '../lowering/conv-filter-gradient.js';
import { arithmetic } from './elementwise.js';
import { kernel, type Tracer } from './kernel.js';
import { activate, isKnownActivation } from './linear.js';
import { fittedPads } from './padding.js';
import { transposeValue } from './shape.js';

type Padding = Parameters<typeof backend_util.computeConv2DInfo>[4];
type Size4 = [number, number, number, number];

/**
 * Sizes, padding and steps as ONNX wants them, for channels last; undefined where it has no such padding. A gradient
 * gives the output's shape: TensorFlow.js does not tell it how the sizes were rounded.
 */
export function geometry(
  kernel: string,
  input: readonly number[],
  filter: readonly number[],
  { strides, pad, dilations, dimRoundingMode, dataFormat }: Pick<Conv2DAttrs, 'strides' | 'pad'> & Partial<Conv2DAttrs>,
  { depthwise = false, output }: { depthwise?: boolean; output?: readonly number[] } = {},
): ConvGeometry | undefined {
  const info = backend_util.computeConv2DInfo(
    [...input] as Size4,
    [...filter] as Size4,
    strides,
    (dilations ?? 1) as number,
    (typeof pad === 'object' && dataFormat === 'NCHW' ? TO_NHWC.map((axis) => pad[axis]) : pad) as Padding,
    dimRoundingMode,
    depthwise,
  );
  const { top, left, bottom, right } = info.padInfo;
  const steps: [number, number] = [info.strideHeight, info.strideWidth];
  const outShape = output ?? info.outShape;
  const windows = {
    input: input.slice(1, 3),
    output: outShape.slice(1, 3),
    window: [info.effectiveFilterHeight, info.effectiveFilterWidth],
    strides: steps,
  };
  const pads = fittedPads(kernel, windows, [top, left], [bottom, right]);
  if (pads === undefined) return undefined;
  return {
    input: [...input] as Size4,
    filter: [...filter] as Size4,
    output: [...outShape] as Size4,
    strides: steps,
    dilations: [info.dilationHeight, info.dilationWidth],
    pads: pads as Size4,
  };
}

const TO_NHWC = [0, 2, 3, 1];
const TO_NCHW = [0, 3, 1, 2];

function convolution(
  tracer: Tracer,
  x: Value,
  filter: Value,
  bias: Value | undefined,
  attributes: Conv2DAttrs,
): Value | undefined {
  const first = attributes.dataFormat === 'NCHW';
  const image = first ? transposeValue(tracer, x, TO_NHWC) : x;
  const where = geometry(tracer.kernel, image.shape, filter.shape, attributes);
  if (where === undefined) return undefined;
  const inputs = bias === undefined ? [image, filter] : [image, filter, bias];
  const { blockSize } = tracer.backend;
  const y = tracer.one(conv2d({ ...where, blockSize }), inputs, { shape: where.output, type: 'float32' });
  return first ? transposeValue(tracer, y, TO_NCHW) : y;
}

function floats(...values: readonly Value[]): boolean {
  return values.every(({ type }) => type === 'float32');
}

export const convolutionKernels: readonly KernelConfig[] = [
  kernel<Conv2DAttrs>('Conv2D', (tracer, { input }, attributes) => {
    const [x, filter] = [input('x'), input('filter')];
    return floats(x, filter) ? convolution(tracer, x, filter, undefined, attributes) : undefined;
  }),
  kernel<FusedConv2DAttrs>('FusedConv2D', (tracer, { input, maybe }, attributes) => {
    const [x, filter, bias] = [input('x'), input('filter'), maybe('bias')];
    const slope = maybe('preluActivationWeights');
    if (!floats(x, filter) || !isKnownActivation(attributes.activation)) return undefined;
    if (attributes.dataFormat === 'NCHW' && (bias !== undefined || slope !== undefined)) return undefined;
    const direct = bias?.shape.length === 1 && bias.size === filter.shape[3] ? bias : undefined;
    const y = convolution(tracer, x, filter, direct, attributes);
    if (y === undefined) return undefined;
    const sum = bias === undefined || direct !== undefined ? y : arithmetic(tracer, 'Add', y, bias);
    return activate(tracer, sum, attributes.activation, slope, attributes.leakyreluAlpha);
  }),
  kernel<Conv2DBackpropInputAttrs>('Conv2DBackpropInput', (tracer, { input }, attributes) => {
    const [dy, filter] = [input('dy'), input('filter')];
    if (!floats(dy, filter)) return undefined;
    const first = attributes.dataFormat === 'NCHW';
    const shape = first ? TO_NHWC.map((axis) => attributes.inputShape[axis]!) : attributes.inputShape;
    const gradient = first ? transposeValue(tracer, dy, TO_NHWC) : dy;
    const where = geometry(tracer.kernel, shape, filter.shape, attributes, { output: gradient.shape });
    // Only numbers as padding are rounded; by its words, conv2dTranspose may ask for an output that its input does not fit.
    const words = typeof attributes.pad === 'string';
    const fits = geometry(tracer.kernel, shape, filter.shape, attributes)?.output;
    if (where === undefined || (words && String(fits) !== String(gradient.shape))) return undefined;
    const { blockSize } = tracer.backend;
    const dx = tracer.one(conv2dInputGradient({ ...where, blockSize }), [gradient, filter], {
      shape: where.input,
      type: 'float32',
    });
    return first ? transposeValue(tracer, dx, TO_NCHW) : dx;
  }),
  kernel<Conv2DBackpropFilterAttrs>('Conv2DBackpropFilter', (tracer, { input }, attributes) => {
    const [x, dy] = [input('x'), input('dy')];
    if (!floats(x, dy)) return undefined;
    const first = attributes.dataFormat === 'NCHW';
    const image = first ? transposeValue(tracer, x, TO_NHWC) : x;
    const gradient = first ? transposeValue(tracer, dy, TO_NHWC) : dy;
    const where = geometry(tracer.kernel, image.shape, attributes.filterShape, attributes, { output: gradient.shape });
    if (where === undefined) return undefined;
    return tracer.one(conv2dFilterGradient(where), [image, gradient], { shape: where.filter, type: 'float32' });
  }),
  kernel<DepthwiseConv2dNativeAttrs>('DepthwiseConv2dNative', (tracer, { input }, attributes) => {
    const [x, filter] = [input('x'), input('filter')];
    if (!floats(x, filter) || attributes.dataFormat === 'NCHW') return undefined;
    const where = geometry(tracer.kernel, x.shape, filter.shape, attributes as never, { depthwise: true });
    if (where === undefined) return undefined;
    return tracer.one(depthwiseConv2d(where), [x, filter], { shape: where.output, type: 'float32' });
  }),
  kernel<FusedDepthwiseConv2DAttrs>('FusedDepthwiseConv2D', (tracer, { input, maybe }, attributes) => {
    const [x, filter, bias] = [input('x'), input('filter'), maybe('bias')];
    if (!floats(x, filter) || attributes.dataFormat === 'NCHW' || !isKnownActivation(attributes.activation))
      return undefined;
    const where = geometry(tracer.kernel, x.shape, filter.shape, attributes as never, { depthwise: true });
    if (where === undefined) return undefined;
    const y = tracer.one(depthwiseConv2d(where), [x, filter], { shape: where.output, type: 'float32' });
    const sum = bias === undefined ? y : arithmetic(tracer, 'Add', y, bias);
    const slope = maybe('preluActivationWeights');
    return activate(tracer, sum, attributes.activation, slope, attributes.leakyreluAlpha);
  }),
];
