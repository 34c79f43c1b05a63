import { sizeOf } from '@mezzotint/core';
import type { KernelConfig, SparseToDenseAttrs } from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { diagonal, scatterUpdate } from '../lowering/scatter.js';
import { kernel, type Tracer } from './kernel.js';

/**
 * Puts `updates` at `indices` into `base`, which may be one element that is repeated. Indices that are not in memory or
 * point outside are the cpu backend's: it says which.
 */
function updated(
  tracer: Tracer,
  base: Value,
  indices: Value,
  updates: Value,
  shape: readonly number[],
): Value | undefined {
  if (updates.type === 'bool' || updates.type !== base.type || sizeOf(shape) === 0) return undefined;
  const described = ({ shape: own }: Value) => ({ shape: [...own], rank: own.length }) as never;
  const { sliceRank, numUpdates, sliceSize } = backend_util.calculateShapes(described(updates), described(indices), [
    ...shape,
  ]);
  if (sliceRank < 1 || numUpdates * sliceSize !== updates.size || indices.buffer === undefined) return undefined;
  const sizes = shape.slice(0, sliceRank);
  const known = indices.buffer.data;
  if (known.some((index, at) => index < 0 || index >= sizes[at % sliceRank]!)) return undefined;
  const call = scatterUpdate({ sizes, count: numUpdates, width: sliceSize });
  return tracer.one(call, [base, indices, updates], { shape, type: updates.type });
}

export const scatterKernels: readonly KernelConfig[] = [
  kernel<object>('TensorScatterUpdate', (tracer, { input }) => {
    const base = input('tensor');
    return updated(tracer, base, input('indices'), input('updates'), base.shape);
  }),
  kernel<SparseToDenseAttrs>('SparseToDense', (tracer, { input }, { outputShape }) =>
    updated(tracer, input('defaultValue'), input('sparseIndices'), input('sparseValues'), outputShape),
  ),
  kernel<object>('Diag', (tracer, { input }) => {
    const x = input('x');
    if (x.type === 'bool') return undefined;
    return tracer.one(diagonal({ size: x.size }), [x], { shape: [...x.shape, ...x.shape], type: x.type });
  }),
];
