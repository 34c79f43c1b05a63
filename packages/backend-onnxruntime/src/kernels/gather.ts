import { InvalidArgumentError, sizeOf } from '@mezzotint/core';
import type {
  GatherV2Attrs,
  KernelConfig,
  OneHotAttrs,
  ScatterNdAttrs,
  TopKAttrs,
  UnsortedSegmentSumAttrs,
} from '@tensorflow/tfjs-core';
import { util } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { gather, gatherNd, oneHot, scatterNd, segmentSum, topK } from '../lowering/gather.js';
import { kernel, type Tracer } from './kernel.js';
import { reshapeValue } from './shape.js';

/** Indices that are known now are checked now, so that the fault is reported where it was made. */
function checkIndices(tracer: Tracer, indices: Value, limit: number): void {
  const known = indices.buffer?.data;
  const wrong = known?.find((index) => index < 0 || index >= limit);
  if (wrong === undefined) return;
  throw new InvalidArgumentError(tracer.kernel, `the index value ${wrong} is not in [0, ${limit - 1}]`);
}

/** The slices `indices` of one axis. */
export function gatherValue(tracer: Tracer, x: Value, indices: Value, axis: number): Value {
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return tracer.one(gather({ axis, size: x.shape[axis]! }), [x, indices], { shape, type: x.type });
}

export const gatherKernels: readonly KernelConfig[] = [
  kernel<GatherV2Attrs>('GatherV2', (tracer, { input }, { axis, batchDims }) => {
    const [x, indices] = [input('x'), input('indices')];
    const at = util.parseAxisParam(axis, [...x.shape])[0]!;
    if (batchDims !== 0 || indices.type !== 'int32' || x.type === 'bool') return undefined;
    checkIndices(tracer, indices, x.shape[at]!);
    return gatherValue(tracer, x, indices, at);
  }),
  kernel<object>('GatherNd', (tracer, { input }) => {
    const [x, indices] = [input('params'), input('indices')];
    const depth = indices.shape.at(-1) ?? 0;
    if (depth > x.shape.length) return undefined;
    if (indices.type !== 'int32' || x.type === 'bool' || depth === 0 || indices.buffer === undefined) return undefined;
    for (let at = 0; at < indices.size; at++) {
      const index = indices.buffer.data[at]!;
      if (index < 0 || index >= x.shape[at % depth]!) return undefined;
    }
    const shape = [...indices.shape.slice(0, -1), ...x.shape.slice(depth)];
    return tracer.one(gatherNd({}), [x, indices], { shape, type: x.type });
  }),
  kernel<UnsortedSegmentSumAttrs>('UnsortedSegmentSum', (tracer, { input }, { numSegments }) => {
    const [x, ids] = [input('x'), input('segmentIds')];
    if (x.type === 'bool' || ids.type !== 'int32' || ids.shape.length !== 1 || ids.size !== x.shape[0])
      return undefined;
    const width = sizeOf(x.shape.slice(1));
    const rows = reshapeValue(tracer, x, [ids.size, width]);
    const sums = tracer.one(segmentSum({ segments: numSegments }), [rows, ids], {
      shape: [numSegments, width],
      type: x.type,
    });
    return reshapeValue(tracer, sums, [numSegments, ...x.shape.slice(1)]);
  }),
  kernel<OneHotAttrs>('OneHot', (tracer, { input }, { dtype, depth, onValue, offValue }) => {
    const indices = input('indices');
    if (indices.type !== 'int32' || (dtype !== 'float32' && dtype !== 'int32')) return undefined;
    return tracer.one(oneHot({ depth, on: onValue, off: offValue }), [indices], {
      shape: [...indices.shape, depth],
      type: dtype,
    });
  }),
  kernel<ScatterNdAttrs>('ScatterNd', (tracer, { input }, { shape }) => {
    const [indices, updates] = [input('indices'), input('updates')];
    const depth = indices.shape.at(-1)!;
    if (updates.type === 'bool' || indices.shape.length < 2 || depth === 0 || indices.buffer === undefined)
      return undefined;
    for (let at = 0; at < indices.size; at++) {
      const index = indices.buffer.data[at]!;
      if (index < 0 || index >= shape[at % depth]!) return undefined;
    }
    const zeros = tracer.filled(shape, updates.type, 0);
    const whole = reshapeValue(tracer, updates, [...indices.shape.slice(0, -1), ...shape.slice(depth)]);
    return tracer.one(scatterNd({ add: true }), [zeros, indices, whole], { shape, type: updates.type });
  }),
  kernel<TopKAttrs>('TopK', (tracer, { input }, { k }) => {
    const x = input('x');
    if (x.type === 'bool' || x.shape.length === 0 || k === 0) return undefined;
    const shape = [...x.shape.slice(0, -1), k];
    return tracer.many(
      topK({ k }),
      [x],
      [
        { shape, type: x.type },
        { shape, type: 'int32' },
      ],
    );
  }),
];
