import type { ArgMaxAttrs, CumsumAttrs, KernelConfig, MaxAttrs, SoftmaxAttrs, SumAttrs } from '@tensorflow/tfjs-core';
import { util } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { anyAll, argExtreme, type Reduction, reduction } from '../lowering/reduce.js';
import { cumulative, softmax } from '../lowering/shape.js';
import { toType } from './elementwise.js';
import { kernel, type Tracer } from './kernel.js';

interface ReduceAttributes {
  readonly axis: number | number[];
  readonly keepDims: boolean;
}

/** The axes in order, and the shape without them (or with size 1 in their places). */
export function reducedShape(
  shape: readonly number[],
  { axis, keepDims }: ReduceAttributes,
): { axes: number[]; shape: number[] } {
  const axes = [...new Set(util.parseAxisParam(axis, [...shape]))].sort((a, b) => a - b);
  const left = keepDims
    ? shape.map((size, at) => (axes.includes(at) ? 1 : size))
    : shape.filter((_, at) => !axes.includes(at));
  return { axes, shape: left };
}

/** Reduces a float32 or int32 value. */
export function reduceValue(tracer: Tracer, op: Reduction, x: Value, attributes: ReduceAttributes): Value {
  const { axes, shape } = reducedShape(x.shape, attributes);
  return tracer.one(reduction({ op, axes }), [x], { shape, type: x.type });
}

const REDUCTIONS: readonly (readonly [string, Reduction])[] = [
  ['Sum', 'ReduceSum'],
  ['Mean', 'ReduceMean'],
  ['Max', 'ReduceMax'],
  ['Min', 'ReduceMin'],
  ['Prod', 'ReduceProd'],
];

export const reduceKernels: readonly KernelConfig[] = [
  ...REDUCTIONS.map(([name, op]) =>
    kernel<SumAttrs | MaxAttrs>(name, (tracer, { input }, given) => {
      const x = input('x');
      const axis = 'reductionIndices' in given ? given.reductionIndices : given.axis;
      const attributes: ReduceAttributes = { axis, keepDims: given.keepDims };
      if (name === 'Sum' && x.type === 'bool') return reduceValue(tracer, op, toType(tracer, x, 'int32'), attributes);
      if (name === 'Mean' && x.type !== 'float32') {
        return reduceValue(tracer, op, toType(tracer, x, 'float32'), attributes);
      }
      if (x.type === 'bool') return undefined;
      return reduceValue(tracer, op, x, attributes);
    }),
  ),
  ...(['Any', 'All'] as const).map((name) =>
    kernel<ReduceAttributes>(name, (tracer, { input }, attributes) => {
      const x = input('x');
      if (x.type !== 'bool') return undefined;
      const { axes, shape } = reducedShape(x.shape, attributes);
      return tracer.one(anyAll({ all: name === 'All', axes }), [x], { shape, type: 'bool' });
    }),
  ),
  ...(['ArgMax', 'ArgMin'] as const).map((name) =>
    kernel<ArgMaxAttrs>(name, (tracer, { input }, { axis }) => {
      const x = input('x');
      if (x.type === 'bool') return undefined;
      const { axes, shape } = reducedShape(x.shape, { axis, keepDims: false });
      return tracer.one(argExtreme({ op: name, axis: axes[0]! }), [x], { shape, type: 'int32' });
    }),
  ),
  kernel<CumsumAttrs>('Cumsum', (tracer, { input }, { axis, exclusive, reverse }) => {
    const x = input('x');
    if (x.type === 'bool') return undefined;
    const at = util.parseAxisParam(axis, [...x.shape])[0]!;
    return tracer.one(cumulative({ op: 'CumSum', axis: at, exclusive, reverse }), [x], {
      shape: x.shape,
      type: x.type,
    });
  }),
  kernel<SoftmaxAttrs>('Softmax', (tracer, { input }, { dim }) => {
    const x = input('logits');
    if (x.type !== 'float32' || (dim !== -1 && dim !== x.shape.length - 1)) return undefined;
    return tracer.one(softmax({}), [x], { shape: x.shape, type: 'float32' });
  }),
];
