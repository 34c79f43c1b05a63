import { isStretched, layoutOf, physicalDims, rowMajor } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, OutputSpec, Physical } from './builder.js';
import { dotsOf, sumsOf } from './channel-affine.js';
import { isBlocked } from './channel-sums.js';

export type Reduction = 'ReduceSum' | 'ReduceMean' | 'ReduceMax' | 'ReduceMin' | 'ReduceProd';

/** Reduces logical axes, each of which stays with size 1 in the result's layout (`[]`) or goes away. */
export function reduce(
  b: GraphBuilder,
  op: Reduction,
  input: Physical,
  axes: readonly number[],
  { shape, type }: OutputSpec,
): Physical {
  const reduced = new Set(axes);
  const repeats = input.layout.axes.reduce(
    (n, atoms, axis) => (reduced.has(axis) ? atoms.reduce((m, atom) => (atom < 0 ? m * -atom : m), n) : n),
    1,
  );
  const x = repeats > 1 && op === 'ReduceProd' ? b.full(input) : input;
  const { layout } = x;
  const goes = layout.axes.flatMap((atoms, axis) => atoms.map(() => reduced.has(axis)));
  const dims = physicalDims(layout);
  // Neighbouring dimensions with the same fate become one: ONNX Runtime has fast paths for up to three.
  const runs: { goes: boolean; size: number }[] = [];
  layout.order.forEach((atom, at) => {
    const last = runs.at(-1);
    if (last !== undefined && last.goes === goes[atom]!) last.size *= dims[at]!;
    else runs.push({ goes: goes[atom]!, size: dims[at]! });
  });
  const keptDims = runs.filter((run) => !run.goes).map((run) => run.size);
  const sum = reduceRuns(b, op, x, runs);
  const scaled = op === 'ReduceSum' && repeats > 1 ? b.one('Mul', [sum, b.scalar(repeats, type)]) : sum;

  const kept = new Map<number, number>();
  goes.forEach((gone, atom) => {
    if (!gone) kept.set(atom, kept.size);
  });
  const remaining = layout.axes.filter((_, axis) => !reduced.has(axis));
  // Put back the axes of size 1 that the result's shape may have (keepDims): sizes 1 have no atoms.
  const outAxes: (readonly number[])[] = [];
  if (shape.length === layout.axes.length) {
    layout.axes.forEach((atoms, axis) => {
      outAxes.push(reduced.has(axis) ? [] : atoms);
    });
  } else {
    outAxes.push(...remaining);
  }
  const order = layout.order.flatMap((atom) => (kept.has(atom) ? [kept.get(atom)!] : []));
  return { name: scaled, dims: keptDims, type, layout: layoutOf(outAxes, order) };
}

/**
 * Reduces dimensions from the innermost outwards, each in the three dimensions (before, it, behind) for which ONNX
 * Runtime has fast loops; all at once it would take the general one, which is three times slower.
 */
function reduceRuns(
  b: GraphBuilder,
  op: Reduction,
  x: Physical,
  runs: readonly { readonly goes: boolean; readonly size: number }[],
): string {
  const size = (part: readonly { readonly size: number }[]): number => part.reduce((n, run) => n * run.size, 1);
  let left = [...runs];
  let value = x;
  for (let at = left.length - 1; at >= 0; at--) {
    if (!left[at]!.goes) continue;
    const [before, behind] = [left.slice(0, at), left.slice(at + 1)];
    const around = behind.length === 0 ? [] : [size(behind)];
    const length = left[at]!.size;
    const parts = before.length === 0 && behind.length > 0 ? partsOf(length) : 1;
    const source = b.view(value, [size(before) * parts, length / parts, ...around]);
    const name = b.one(op, [source, b.ints([1])], { keepdims: 0 });
    value = { ...value, name, dims: [size(before) * parts, ...around] };
    left = [...before, ...(parts === 1 ? [] : [{ goes: true, size: parts }]), ...behind];
    if (parts > 1) at++;
  }
  return b.view(
    value,
    left.map((run) => run.size),
  );
}

/**
 * Parts in which the rows of a matrix are reduced first, each on any thread: over one outer dimension of size 1 ONNX
 * Runtime uses one thread (512x1536: 1.2 ns an element, in parts 0.2). All parts are equal, so a mean of means is the mean.
 */
function partsOf(length: number): number {
  let parts = length < 128 ? 1 : 16;
  while (length % parts !== 0) parts--;
  return parts;
}

/** Sum, mean, maximum, minimum or product over axes (sorted, not negative). */
export const reduction = operation<{ op: Reduction; axes: readonly number[] }>(
  'Reduce',
  (b, [x], [out], { op, axes }) => {
    if ((op === 'ReduceMax' || op === 'ReduceMin') && out!.type === 'float32') return [extreme(b, op, x!, axes, out!)];
    if (out!.type === 'int32' && (op === 'ReduceSum' || op === 'ReduceProd')) return [wrapped(b, op, x!, axes, out!)];
    return [
      sumOfSquares(b, op, x!, axes, out!) ?? positionSums(b, op, x!, axes, out!) ?? reduce(b, op, x!, axes, out!),
    ];
  },
);

/** In int64, of which int32 keeps the low half, as arithmetic in int32 does; ONNX Runtime's own stops at the largest. */
function wrapped(b: GraphBuilder, op: Reduction, x: Physical, axes: readonly number[], spec: OutputSpec): Physical {
  const wide: Physical = { ...x, type: 'int64', name: b.one('Cast', [x.name], { to: 7 }), origin: undefined };
  const found = reduce(b, op, wide, axes, { ...spec, type: 'int64' });
  return { ...found, type: 'int32', name: b.one('Cast', [found.name], { to: 6 }) };
}

/** The sum of the squares of all elements (the norm of a gradient) in one pass, without the squares. */
function sumOfSquares(
  b: GraphBuilder,
  op: Reduction,
  x: Physical,
  axes: readonly number[],
  { shape, type }: OutputSpec,
): Physical | undefined {
  const source = x.origin?.square;
  if (op !== 'ReduceSum' || source === undefined || axes.length < x.layout.axes.length) return undefined;
  if (isStretched(source.layout)) return undefined;
  // With all axes at once ONNX Runtime takes its vector loop; along one axis it goes element by element.
  const name = b.one('ReduceSumSquare', [source.name], { keepdims: 0 });
  return { name, dims: [], type, layout: rowMajor(shape) };
}

/** ONNX Runtime's maximum and minimum may skip NaN; TensorFlow.js's are NaN where one element is. */
function extreme(b: GraphBuilder, op: Reduction, x: Physical, axes: readonly number[], spec: OutputSpec): Physical {
  const found = reduce(b, op, x, axes, spec);
  const marks = b.one('Cast', [b.one('IsNaN', [x.name])], { to: 1 });
  const anyNaN = reduce(b, 'ReduceMax', { ...x, name: marks, fill: undefined, origin: undefined }, axes, spec);
  const clean = b.one('Equal', [anyNaN.name, b.scalar(0)]);
  return { ...found, name: b.one('Where', [clean, found.name, b.scalar(Number.NaN)]) };
}

/** Sums over all positions of a blocked map or of a product of two, without the product. */
function positionSums(
  b: GraphBuilder,
  op: Reduction,
  x: Physical,
  axes: readonly number[],
  { shape, type }: OutputSpec,
): Physical | undefined {
  const rank = x.layout.axes.length;
  if (op !== 'ReduceSum' || rank < 3 || type !== 'float32') return undefined;
  if (axes.length !== rank - 2 || axes.some((axis, at) => axis !== at + 1)) return undefined;
  const factors = x.origin?.product;
  const sources = factors ?? [x];
  if (!sources.every((source) => isBlocked(b, source.origin?.affine?.x ?? source))) return undefined;
  const sums = factors === undefined ? sumsOf(b, x) : dotsOf(b, factors[0], factors[1]);
  if (sums === undefined) return undefined;
  return { name: sums, dims: [shape[0]!, shape.at(-1)!], type, layout: rowMajor(shape) };
}

/** True where any (all) elements along axes are true. */
export const anyAll = operation<{ all: boolean; axes: readonly number[] }>('AnyAll', (b, [x], [out], { all, axes }) => {
  const asInt: Physical = { ...x!, type: 'int32', name: b.one('Cast', [x!.name], { to: 6 }) };
  const found = reduce(b, all ? 'ReduceMin' : 'ReduceMax', asInt, axes, { shape: out!.shape, type: 'int32' });
  return [{ ...found, type: 'bool', name: b.one('Cast', [found.name], { to: 9 }) }];
});

/** Index of the largest (smallest) element along one axis; the first where there are several. NaN is passed over. */
export const argExtreme = operation<{ op: 'ArgMax' | 'ArgMin'; axis: number }>(
  'ArgExtreme',
  (b, [x], [out], { op, axis }) => {
    const elements = b.plain(b.full(x!));
    const worst = op === 'ArgMax' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    const ordered =
      x!.type === 'float32' ? b.one('Where', [b.one('IsNaN', [elements]), b.scalar(worst), elements]) : elements;
    const found = b.one(op, [ordered], { axis, keepdims: 0 });
    return [b.result(b.one('Cast', [found], { to: 6 }), out!)];
  },
);
