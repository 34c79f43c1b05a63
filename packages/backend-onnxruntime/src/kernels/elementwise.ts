import type {
  CastAttrs,
  ClipByValueAttrs,
  FillAttrs,
  KernelConfig,
  LeakyReluAttrs,
  StepAttrs,
} from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import type { OnnxRuntimeBackend } from '../backend.js';
import type { Value } from '../graph/value.js';
import { addN, binary, COMPARISONS, FLOAT_BINARY, INT_BINARY, select } from '../lowering/binary.js';
import { cast, clip, FLOAT_UNARY, INT_UNARY, leakyRelu, not, step, unary } from '../lowering/unary.js';
import type { StoredType } from '../memory/buffer-pool.js';
import { kernel, type Tracer } from './kernel.js';

const TESTS = new Set(['IsNan', 'IsInf', 'IsFinite']);

const unaryKernels = [...FLOAT_UNARY].map((name) =>
  kernel<object>(name, (tracer, { input }) => {
    const x = input('x');
    const known = x.type === 'float32' ? FLOAT_UNARY : x.type === 'int32' ? INT_UNARY : undefined;
    if (known === undefined || !known.has(name)) return undefined;
    return tracer.one(unary({ name }), [x], { shape: x.shape, type: TESTS.has(name) ? 'bool' : x.type });
  }),
);

const binaryKernels = [...new Set([...FLOAT_BINARY, ...INT_BINARY])].map((name) => {
  const [a, b] = name === 'Prelu' ? ['x', 'alpha'] : name === 'EluGrad' ? ['dy', 'y'] : ['a', 'b'];
  return kernel<object>(name, (tracer, { input }) => {
    const [x, y] = [input(a!), input(b!)];
    const known = x.type === 'float32' ? FLOAT_BINARY : INT_BINARY;
    if (x.type !== y.type || x.type === 'bool' || !known.has(name)) return undefined;
    return arithmetic(tracer, name, x, y);
  });
});

const comparisonKernels = [...COMPARISONS].map((name) =>
  kernel<object>(name, (tracer, { input }) => {
    const [x, y] = [input('a'), input('b')];
    const logical = name.startsWith('Logical');
    if (x.type !== y.type || logical !== (x.type === 'bool' || logical)) return undefined;
    if (logical && x.type !== 'bool') return undefined;
    const [p, q] = x.type === 'bool' && !logical ? [toType(tracer, x, 'int32'), toType(tracer, y, 'int32')] : [x, y];
    const shape = backend_util.assertAndGetBroadcastShape([...x.shape], [...y.shape]);
    return tracer.one(binary({ name }), [p, q], { shape, type: 'bool' });
  }),
);

/** f(x, y) with broadcasting for one of the named functions. */
export function arithmetic(tracer: Tracer, name: string, x: Value, y: Value): Value {
  const shape = backend_util.assertAndGetBroadcastShape([...x.shape], [...y.shape]);
  return tracer.one(binary({ name }), [x, y], { shape, type: x.type });
}

/** The value in another element type. */
export function toType(tracer: Tracer, x: Value, type: StoredType): Value {
  return x.type === type ? x : tracer.one(cast({}), [x], { shape: x.shape, type });
}

export const elementwiseKernels: readonly KernelConfig[] = [
  ...unaryKernels,
  ...binaryKernels,
  ...comparisonKernels,
  kernel<LeakyReluAttrs>('LeakyRelu', (tracer, { input }, { alpha }) => {
    const x = input('x');
    if (x.type !== 'float32') return undefined;
    return tracer.one(leakyRelu({ alpha }), [x], { shape: x.shape, type: 'float32' });
  }),
  kernel<StepAttrs>('Step', (tracer, { input }, { alpha }) => {
    const x = input('x');
    if (x.type !== 'float32') return undefined;
    return tracer.one(step({ alpha }), [x], { shape: x.shape, type: 'float32' });
  }),
  kernel<ClipByValueAttrs>('ClipByValue', (tracer, { input }, { clipValueMin, clipValueMax }) => {
    const x = input('x');
    if (x.type !== 'float32') return undefined;
    const bounds = [clipValueMin, clipValueMax].map((bound) => tracer.filled([], 'float32', bound));
    return tracer.one(clip({}), [x, ...bounds], { shape: x.shape, type: 'float32' });
  }),
  kernel<CastAttrs>(
    'Cast',
    (tracer, { input }, { dtype }) => {
      const x = input('x');
      if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') return undefined;
      return toType(tracer, x, dtype);
    },
    { views: 'x' },
  ),
  {
    // Two tensors of one data id, as on the other backends: memory is counted once.
    kernelName: 'Identity',
    backendName: 'onnxruntime',
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x!;
      (backend as OnnxRuntimeBackend).incRef(dataId);
      return { dataId, shape, dtype };
    },
  },
  kernel<object>('LogicalNot', (tracer, { input }) => {
    const x = input('x');
    if (x.type !== 'bool') return undefined;
    return tracer.one(not({}), [x], { shape: x.shape, type: 'bool' });
  }),
  kernel<object>('Select', (tracer, { input }) => {
    const [condition, t, e] = [input('condition'), input('t'), input('e')];
    if (t.type !== e.type || t.type === 'bool') return undefined;
    const rows = condition.shape.length === 1 && t.shape.length > 1;
    if (!rows) {
      const shape = backend_util.assertAndGetBroadcastShape(
        backend_util.assertAndGetBroadcastShape([...condition.shape], [...t.shape]),
        [...e.shape],
      );
      return tracer.one(select({}), [toType(tracer, condition, 'bool'), t, e], { shape, type: t.type });
    }
    return undefined;
  }),
  kernel<object>('AddN', (tracer, { all }) => {
    const first = all[0]!;
    if (all.some((x) => x.type !== first.type) || first.type === 'bool') return undefined;
    return tracer.one(addN({}), all, { shape: first.shape, type: first.type });
  }),
  kernel<object>('ZerosLike', (tracer, { input }) => tracer.filled(input('x').shape, input('x').type, 0)),
  kernel<object>('OnesLike', (tracer, { input }) => tracer.filled(input('x').shape, input('x').type, 1)),
  kernel<FillAttrs>('Fill', (tracer, _, { shape, value, dtype }) => {
    const type = dtype ?? 'float32';
    if (typeof value === 'string' || (type !== 'float32' && type !== 'int32' && type !== 'bool')) return undefined;
    if (shape.includes(0)) return tracer.empty({ shape, type });
    return tracer.filled(shape, type, value);
  }),
];
