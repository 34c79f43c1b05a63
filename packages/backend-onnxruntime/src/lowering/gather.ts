import { operation } from '../graph/node.js';

/** Rows `indices` of one axis of `size`. ONNX counts indices below zero from the end; here they are out of range. */
export const gather = operation<{ axis: number; size: number }>('Gather', (b, [x, indices], [out], { axis, size }) => {
  const places = b.plain(indices!);
  const negative = b.one('Less', [places, b.scalar(0, 'int32')]);
  const strict = b.one('Where', [negative, b.scalar(size, 'int32'), places]);
  return [b.result(b.one('Gather', [b.plain(x!), strict], { axis }), out!)];
});

/** Slices at the coordinates in the last axis of `indices`. */
export const gatherNd = operation<object>('GatherNd', (b, [x, indices], [out]) => [
  b.result(b.one('GatherND', [b.plain(x!), b.one('Cast', [b.plain(indices!)], { to: 7 })]), out!),
]);

/** Sum of the rows of x `[n, d]` that carry each segment's number; numbers that are no segment are left out. */
export const segmentSum = operation<{ segments: number }>('SegmentSum', (b, [x, ids], [out], { segments }) => {
  const [n, d] = [x!.layout.axes[0]!, out!.shape[1]!];
  const count = Math.abs(n.reduce((p, atom) => p * atom, 1));
  const rows = b.one('Cast', [b.plain(ids!)], { to: 7 });
  const inside = b.one('And', [
    b.one('GreaterOrEqual', [rows, b.scalar(0, 'int64')]),
    b.one('Less', [rows, b.scalar(segments, 'int64')]),
  ]);
  const safe = b.one('Where', [inside, rows, b.scalar(segments, 'int64')]);
  const zeros = b.one('Expand', [b.scalar(0, x!.type), b.ints([segments + 1, d])]);
  const places = b.one('Reshape', [safe, b.ints([count, 1])]);
  const sums = b.one('ScatterND', [zeros, places, b.plain(x!)], { reduction: 'add' });
  return [b.result(b.one('Slice', [sums, b.ints([0]), b.ints([segments]), b.ints([0])]), out!)];
});

/** `on` where the last coordinate is the index, `off` elsewhere. */
export const oneHot = operation<{ depth: number; on: number; off: number }>(
  'OneHot',
  (b, [indices], [out], { depth, on, off }) => {
    const numbers = b.one('Range', [b.scalar(0, 'int32'), b.scalar(depth, 'int32'), b.scalar(1, 'int32')]);
    const rows = b.view(b.dense(indices!), [...out!.shape.slice(0, -1), 1]);
    const hit = b.one('Equal', [rows, numbers]);
    return [b.result(b.one('Where', [hit, b.scalar(on, out!.type), b.scalar(off, out!.type)]), out!)];
  },
);

/** Places `updates` at coordinates of zeros, adding where a place comes twice; or over the elements of x. */
export const scatterNd = operation<{ add: boolean }>('ScatterNd', (b, [x, indices, updates], [out], { add }) => [
  b.result(
    b.one(
      'ScatterND',
      [b.plain(x!), b.one('Cast', [b.plain(indices!)], { to: 7 }), b.plain(updates!)],
      add ? { reduction: 'add' } : undefined,
    ),
    out!,
  ),
]);

/** The k largest along the last axis, in order, and their places. */
export const topK = operation<{ k: number }>('TopK', (b, [x], [values, places], { k }) => {
  const [found, at] = b.emit('TopK', [b.plain(x!), b.ints([k])], {
    attributes: { axis: -1, largest: 1, sorted: 1 },
    outputs: 2,
  });
  return [b.result(found!, values!), b.result(b.one('Cast', [at!], { to: 6 }), places!)];
});
