import { operation } from '../graph/node.js';
import type { GraphBuilder, OutputSpec, Physical } from './builder.js';

const INT64 = 7;

/** Indices as int64 with the given dimensions; those below zero, which ONNX counts from the end, become out of range. */
function strict(b: GraphBuilder, indices: Physical, dims: readonly number[], sizes: readonly number[]): string {
  const wide = b.one('Cast', [b.one('Reshape', [b.plain(indices), b.ints(dims)])], { to: INT64 });
  return b.one('Where', [b.one('Less', [wide, b.scalar(0, 'int64')]), b.ints(sizes), wide]);
}

/** Slices of x along an axis: y[.., i, ..] = x[.., indices[i], ..]. */
export const gather = operation<{ axis: number; axisSize: number; indexShape: readonly number[] }>(
  'Gather',
  (b, [x, indices], [out], { axis, axisSize, indexShape }) => {
    const places = strict(b, indices!, [-1], [axisSize]);
    const rows = b.one('Gather', [b.plain(x!), places], { axis });
    return [b.result(indexShape.length === 1 ? rows : b.one('Reshape', [rows, b.ints(out!.shape)]), out!)];
  },
);

/** Slices of x at positions in its first `sizes.length` axes, given by the last axis of `indices`. */
export const gatherNd = operation<{ sizes: readonly number[]; batchDims: number; indexShape: readonly number[] }>(
  'GatherNd',
  (b, [x, indices], [out], { sizes, batchDims, indexShape }) => {
    const places = strict(b, indices!, indexShape, sizes);
    return [b.result(b.one('GatherND', [b.plain(x!), places], { batch_dims: batchDims }), out!)];
  },
);

/** `[..., depth]`: `on` at the index, else `off`. */
export const oneHot = operation<{ depth: number; on: number; off: number }>(
  'OneHot',
  (b, [indices], [out], { depth, on, off }) => {
    const column = b.one('Reshape', [b.plain(indices!), b.ints([...out!.shape.slice(0, -1), 1])]);
    const places = b.one('Range', [b.scalar(0, 'int32'), b.scalar(depth, 'int32'), b.scalar(1, 'int32')]);
    const hit = b.one('Equal', [column, places]);
    return [b.result(b.one('Where', [hit, b.scalar(on, out!.type), b.scalar(off, out!.type)]), out!)];
  },
);

/** Puts rows `[M, S]` into a base `[R, S]` at places `[M]`: adds them, or replaces what is there (the last one wins). */
function scatterRows(
  b: GraphBuilder,
  base: string,
  places: string,
  rows: string,
  [count, width]: readonly [number, number],
  add: boolean,
): string {
  // One index for each element: ScatterElements takes the rows one after the other, so sums do not depend on threads.
  const column = b.one('Reshape', [places, b.ints([count, 1])]);
  const spread = b.one('Expand', [column, b.ints([count, width])]);
  return b.one('ScatterElements', [base, spread, rows], { axis: 0, reduction: add ? 'add' : 'none' });
}

/** Sums of the rows of x that have the same segment id; ids outside 0 ... segments - 1 are passed over. */
export const segmentSum = operation<{ rows: number; width: number; segments: number }>(
  'SegmentSum',
  (b, [x, ids], [out], { rows, width, segments }) => {
    const wide = b.one('Cast', [b.plain(ids!)], { to: INT64 });
    const inside = b.one('And', [
      b.one('GreaterOrEqual', [wide, b.scalar(0, 'int64')]),
      b.one('Less', [wide, b.scalar(segments, 'int64')]),
    ]);
    // The rest is summed into one row more, which is cut off.
    const places = b.one('Where', [inside, wide, b.scalar(segments, 'int64')]);
    const zeros = b.one('Expand', [b.scalar(0, out!.type), b.ints([segments + 1, width])]);
    const source = b.one('Reshape', [b.plain(x!), b.ints([rows, width])]);
    const sums = scatterRows(b, zeros, places, source, [rows, width], true);
    const cut = b.one('Slice', [sums, b.ints([0]), b.ints([segments]), b.ints([0])]);
    return [b.result(b.one('Reshape', [cut, b.ints(out!.shape)]), out!)];
  },
);

export interface ScatterGeometry {
  /** Sizes of the axes that an index points into. */
  readonly sizes: readonly number[];
  /** Number of updates, and elements of each. */
  readonly count: number;
  readonly width: number;
  readonly add: boolean;
}

/** A base tensor with slices added or replaced at positions in its first axes. */
export const scatter = operation<ScatterGeometry>(
  'Scatter',
  (b, [base, indices, updates], [out], { sizes, count, width, add }) => {
    const rows = sizes.reduce((n, size) => n * size, 1);
    const wide = strict(
      b,
      indices!,
      [count, sizes.length],
      sizes.map(() => rows),
    );
    const steps = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((n, size) => n * size, 1));
    const places = b.one('ReduceSum', [b.one('Mul', [wide, b.ints(steps)]), b.ints([1])], { keepdims: 0 });
    const into = b.one('Expand', [b.plain(base!), b.ints(out!.shape)]);
    const table = b.one('Reshape', [into, b.ints([rows, width])]);
    const source = b.one('Reshape', [b.plain(updates!), b.ints([count, width])]);
    const made = scatterRows(b, table, places, source, [count, width], add);
    return [b.result(b.one('Reshape', [made, b.ints(out!.shape)]), out!)];
  },
);

/** The k largest elements along the last axis in falling order, and where they are. */
export const topK = operation<{ k: number }>('TopK', (b, [x], [values, indices], { k }) => {
  const [found, places] = b.emit('TopK', [b.plain(x!), b.ints([k])], {
    attributes: { axis: -1, largest: 1, sorted: 1 },
    outputs: 2,
  }) as [string, string];
  return [b.result(found, values!), b.result(b.one('Cast', [places], { to: 6 }), indices!)];
});

/** A tensor on the diagonal of one with twice its axes, zeros elsewhere. */
export const diagonal = operation<{ size: number }>('Diagonal', (b, [x], [out], { size }) => {
  const places = b.one('Range', [b.scalar(0, 'int32'), b.scalar(size, 'int32'), b.scalar(1, 'int32')]);
  const on = b.one('Equal', [places, b.one('Reshape', [places, b.ints([size, 1])])]);
  const line = b.one('Reshape', [b.plain(x!), b.ints([size])]);
  const square = b.one('Where', [on, line, b.scalar(0, out!.type)]);
  return [b.result(b.one('Reshape', [square, b.ints(out!.shape)]), out!)];
});

/** ONNX's Einsum: letters as in `ij,jk->ik`. */
export const einsum = operation<{ equation: string }>('Einsum', (b, inputs, [out], { equation }) => [
  b.result(
    b.one(
      'Einsum',
      inputs.map((x) => b.plain(x)),
      { equation },
    ),
    out as OutputSpec,
  ),
]);
