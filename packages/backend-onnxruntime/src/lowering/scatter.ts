import { operation } from '../graph/node.js';

/** A base tensor, repeated to the output's shape, with slices replaced; where a place comes twice the last one wins. */
export const scatterUpdate = operation<{
  /** Sizes of the axes that an index points into. */
  readonly sizes: readonly number[];
  /** Number of updates, and elements of each. */
  readonly count: number;
  readonly width: number;
}>('ScatterUpdate', (b, [base, indices, updates], [out], { sizes, count, width }) => {
  const rows = sizes.reduce((n, size) => n * size, 1);
  const steps = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((n, size) => n * size, 1));
  const wide = b.one('Cast', [b.one('Reshape', [b.plain(indices!), b.ints([count, sizes.length])])], { to: 7 });
  const places = b.one('ReduceSum', [b.one('Mul', [wide, b.ints(steps)]), b.ints([1])], { keepdims: 1 });
  // ScatterElements goes through the rows in order.
  const spread = b.one('Expand', [places, b.ints([count, width])]);
  const whole = b.one('Expand', [b.plain(base!), b.ints(out!.shape)]);
  const table = b.one('Reshape', [whole, b.ints([rows, width])]);
  const source = b.one('Reshape', [b.plain(updates!), b.ints([count, width])]);
  const made = b.one('ScatterElements', [table, spread, source], { axis: 0 });
  return [b.result(b.one('Reshape', [made, b.ints(out!.shape)]), out!)];
});

/** A tensor on the diagonal of one with twice its axes, zeros elsewhere. */
export const diagonal = operation<{ size: number }>('Diagonal', (b, [x], [out], { size }) => {
  const places = b.one('Range', [b.scalar(0, 'int32'), b.scalar(size, 'int32'), b.scalar(1, 'int32')]);
  const on = b.one('Equal', [places, b.one('Reshape', [places, b.ints([size, 1])])]);
  const line = b.one('Reshape', [b.plain(x!), b.ints([size])]);
  const square = b.one('Where', [on, line, b.scalar(0, out!.type)]);
  return [b.result(b.one('Reshape', [square, b.ints(out!.shape)]), out!)];
});
