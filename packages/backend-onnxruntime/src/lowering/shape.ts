import { type Layout, layoutOf, physicalDims, stretched, transposed } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';
import { elementwise } from './elementwise.js';

/** The same elements under another shape. */
export const reshape = operation<object>('Reshape', (b, [x], [out]) => [b.reshape(x!, out!.shape)]);

/** Axes in another order; nothing moves until somebody needs it to. */
export const transpose = operation<{ permutation: readonly number[] }>('Transpose', (_, [x], __, { permutation }) => [
  { ...x!, layout: transposed(x!.layout, permutation), fusable: undefined, origin: undefined },
]);

/**
 * The dimension that holds a logical axis alone, and the tensor arranged so: an axis that is one stored atom stays where
 * it is; else the tensor becomes row-major in that axis. Other axes keep their place.
 */
export function axisInPlace(
  b: GraphBuilder,
  x: Physical,
  axis: number,
): { value: Physical; dim: number; dims: number[] } {
  const place = placeOf(x.layout, axis);
  if (place !== undefined) return { value: x, dim: place, dims: physicalDims(x.layout) };
  const value = b.dense(x);
  const shape = value.layout.axes.map((list) => list.reduce((n, atom) => n * atom, 1));
  return { value: { ...value, name: b.view(value, shape), dims: shape }, dim: axis, dims: shape };
}

/** Which dimension an axis is, where it is one stored atom. */
function placeOf({ axes, order }: Layout, axis: number): number | undefined {
  const atoms = axes[axis]!;
  return atoms.length === 1 && atoms[0]! > 0 ? order.indexOf(axes.slice(0, axis).flat().length) : undefined;
}

/** True when every axis is at most one stored atom, so that dimensions are axes in some order. */
function axesAreDims(x: Physical): boolean {
  return x.layout.axes.every((atoms) => atoms.length === 0 || (atoms.length === 1 && atoms[0]! > 0));
}

/** Axes of size 1 included, the dims of a tensor whose axes are whole, and which axis each is. */
function wholeAxes(b: GraphBuilder, input: Physical): { name: string; axisOf: number[]; value: Physical } {
  const value = axesAreDims(input) ? input : b.dense(input);
  const shape = value.layout.axes.map((atoms) => atoms.reduce((n, atom) => n * atom, 1));
  const ones = shape.flatMap((size, axis) => (size === 1 ? [axis] : []));
  const withAtoms = shape.flatMap((size, axis) => (size === 1 ? [] : [axis]));
  const axisOf = [...ones, ...value.layout.order.map((atom) => withAtoms[atom]!)];
  const name = b.view(
    value,
    axisOf.map((axis) => shape[axis]!),
  );
  return { name, axisOf, value };
}

/** The result of an operation that kept the order of dims that `wholeAxes` gave. */
function fromWholeAxes(
  name: string,
  axisOf: readonly number[],
  shape: readonly number[],
  type: Physical['type'],
): Physical {
  const dims = axisOf.map((axis) => shape[axis]!);
  const axes = shape.map((size) => (size === 1 ? [] : [size]));
  const atomOf = new Map<number, number>();
  axes.forEach((atoms, axis) => {
    if (atoms.length > 0) atomOf.set(axis, atomOf.size);
  });
  const order = axisOf.flatMap((axis) => (atomOf.has(axis) ? [atomOf.get(axis)!] : []));
  return { name, dims, type, layout: layoutOf(axes, order) };
}

/** Elements begin, begin + stride, ... of each axis; `ends` exclusive (a negative stride ends below begin; -1 is before 0). */
export const slice = operation<{
  begins: readonly number[];
  ends: readonly number[];
  strides: readonly number[];
}>('Slice', (b, [x], [out], { begins, ends, strides }) => {
  const blocked = sliceBlocks(b, x!, begins, ends, strides);
  if (blocked !== undefined) return [blocked];
  const { name, axisOf, value } = wholeAxes(b, x!);
  const shape = value.layout.axes.map((atoms) => atoms.reduce((n, atom) => n * atom, 1));
  const touched = axisOf.flatMap((axis, dim) =>
    begins[axis] === 0 && ends[axis] === shape[axis] && strides[axis] === 1 ? [] : [dim],
  );
  if (touched.length === 0) return [x!];
  const pick = (from: readonly number[]): string => b.ints(touched.map((dim) => from[axisOf[dim]!]!));
  const stops = axisOf.map((axis) => (strides[axis]! < 0 && ends[axis]! < 0 ? Number.MIN_SAFE_INTEGER : ends[axis]!));
  const cut = b.one('Slice', [
    name,
    pick(begins),
    b.ints(touched.map((dim) => stops[dim]!)),
    b.ints(touched),
    pick(strides),
  ]);
  return [fromWholeAxes(cut, axisOf, out!.shape, x!.type)];
});

/** A slice along one axis of a blocked layout, at whole blocks. */
function sliceBlocks(
  b: GraphBuilder,
  x: Physical,
  begins: readonly number[],
  ends: readonly number[],
  strides: readonly number[],
): Physical | undefined {
  const shape = x.layout.axes.map((atoms) => Math.abs(atoms.reduce((n, atom) => n * atom, 1)));
  const cuts = shape.flatMap((size, axis) =>
    begins[axis] === 0 && ends[axis] === size && strides[axis] === 1 ? [] : [axis],
  );
  const axis = cuts[0];
  if (cuts.length !== 1 || axis === undefined || strides[axis] !== 1) return undefined;
  const atoms = x.layout.axes[axis]!;
  if (atoms.length < 2 || atoms.some((atom) => atom < 0)) return undefined;
  const block = atoms.slice(1).reduce((n, atom) => n * atom, 1);
  const begin = begins[axis]! / block;
  const end = ends[axis]! / block;
  if (!Number.isInteger(begin) || !Number.isInteger(end)) return undefined;
  const first = x.layout.axes.slice(0, axis).flat().length;
  const dim = x.layout.order.indexOf(first);
  const dims = physicalDims(x.layout);
  const name = b.one('Slice', [b.view(x, dims), b.ints([begin]), b.ints([end]), b.ints([dim])]);
  const axes = x.layout.axes.map((list, at) => (at === axis ? [end - begin, ...list.slice(1)] : list));
  if (end - begin === 1) {
    // One block: the outer atom is gone.
    const order = x.layout.order.flatMap((atom) => (atom === first ? [] : [atom > first ? atom - 1 : atom]));
    const thin = axes.map((list, at) => (at === axis ? list.slice(1) : list));
    const one = dims.map((size, at) => (at === dim ? 1 : size));
    return { name, dims: one, type: x.type, layout: layoutOf(thin, order) };
  }
  return {
    name,
    type: x.type,
    dims: dims.map((size, at) => (at === dim ? end - begin : size)),
    layout: layoutOf(axes, x.layout.order),
  };
}

/** Joins tensors along one axis; blocked ones stay blocked where every part is whole blocks. */
export const concat = operation<{ axis: number }>('Concat', (b, inputs, [out], { axis }) => {
  const leader = inputs.reduce((best, x) => (size(x) > size(best) ? x : best));
  const atoms = leader.layout.axes[axis]!;
  const block = atoms.slice(1).reduce((n, atom) => n * atom, 1);
  const extents = inputs.map((x) => Math.abs(x.layout.axes[axis]!.reduce((n, atom) => n * atom, 1)));
  const whole = leader.layout.axes.every((list) => list.every((atom) => atom > 0));
  if (whole && atoms.length > 0 && extents.every((extent) => extent % block === 0)) {
    const first = leader.layout.axes.slice(0, axis).flat().length;
    const dim = leader.layout.order.indexOf(first);
    const axes = (extent: number) =>
      leader.layout.axes.map((list, at) => (at === axis ? [extent / block, ...list.slice(1)] : list));
    const names = inputs.map((x, index) => {
      const count = extents[index]! / block;
      const order =
        count === 1
          ? leader.layout.order.flatMap((atom) => (atom === first ? [] : [atom > first ? atom - 1 : atom]))
          : leader.layout.order;
      const own = axes(extents[index]!).map((list, at) => (at === axis && count === 1 ? list.slice(1) : list));
      const dims = physicalDims(leader.layout).map((length, at) => (at === dim ? count : length));
      return b.view(b.relayout(x, layoutOf(own, order)), dims);
    });
    const total = axes(out!.shape[axis]!);
    const dims = physicalDims(leader.layout).map((length, at) => (at === dim ? out!.shape[axis]! / block : length));
    return [
      {
        name: b.one('Concat', names, { axis: dim }),
        dims,
        type: out!.type,
        layout: layoutOf(total, leader.layout.order),
      },
    ];
  }
  const names = inputs.map((x) => b.plain(x));
  return [b.result(b.one('Concat', names, { axis }), out!)];
});

function size(x: Physical): number {
  return x.dims.reduce((n, d) => n * d, 1);
}

type Paddings = readonly (readonly [number, number])[];

/** Surrounds with a constant; `paddings` is one [before, after] an axis. */
export const pad = operation<{ paddings: Paddings; mode: 'constant' | 'reflect' }>(
  'Pad',
  (b, [x, value], [out], { paddings, mode }) => {
    /** Dims with the paddings of the axes that they are; none where it is undefined. */
    const padded = (name: string, axisOf: readonly (number | undefined)[]): string => {
      const side = (at: 0 | 1) => axisOf.map((axis) => (axis === undefined ? 0 : paddings[axis]![at]));
      const pads = b.ints([...side(0), ...side(1)]);
      return b.one('Pad', value === undefined ? [name, pads] : [name, pads, b.view(value, [])], { mode });
    };
    const spatial = mode === 'constant' && value === undefined ? spatialPads(paddings) : undefined;
    const origin = spatial === undefined ? undefined : { padded: { x: x!, pads: spatial } };
    const { axes, order } = x!.layout;
    const touched = paddings.flatMap(([before, after], axis) => (before === 0 && after === 0 ? [] : [axis]));
    const places = touched.map((axis) => placeOf(x!.layout, axis));
    if (!places.includes(undefined)) {
      const axisOf = order.map((_, place) => touched[places.indexOf(place)]);
      const sizes = axes.map((atoms, axis) => (touched.includes(axis) ? [out!.shape[axis]!] : atoms));
      const layout = layoutOf(sizes, order);
      const name = padded(b.view(x!, physicalDims(x!.layout)), axisOf);
      return [{ name, dims: physicalDims(layout), type: x!.type, layout, origin }];
    }
    const { name, axisOf } = wholeAxes(b, x!);
    return [{ ...fromWholeAxes(padded(name, axisOf), axisOf, out!.shape, x!.type), origin }];
  },
);

/** Top, left, bottom, right where an image `[N, H, W, C]` is padded in space alone. */
function spatialPads(paddings: Paddings): readonly [number, number, number, number] | undefined {
  const [n, h, w, c] = paddings;
  if (paddings.length !== 4 || [...n!, ...c!].some((size) => size !== 0)) return undefined;
  return [h![0], w![0], h![1], w![1]];
}

/** Repeats along every axis. */
export const tile = operation<{ reps: readonly number[] }>('Tile', (b, [x], [out], { reps }) => [
  b.result(b.one('Tile', [b.plain(x!), b.ints(reps)]), out!),
]);

/** Copies to a larger shape as broadcasting would; put off until somebody needs the copies. */
export const broadcastTo = operation<object>('BroadcastTo', (b, [x], [out]) => [
  elementwise(
    b,
    [x!, { ...x!, name: b.scalar(0, x!.type), dims: [], layout: stretched(out!.shape) }],
    out!,
    (name) => name,
  ),
]);

/** Sum of the elements before each along one axis. */
export const cumulative = operation<{ op: 'CumSum'; axis: number; exclusive: boolean; reverse: boolean }>(
  'Cumulative',
  (b, [x], [out], { op, axis, exclusive, reverse }) => [
    b.result(
      b.one(op, [b.plain(x!), b.scalar(axis, 'int64')], { exclusive: Number(exclusive), reverse: Number(reverse) }),
      out!,
    ),
  ],
);

/** Moves blocks between depth and space, NHWC: depth [N,H,W,s*s*C] to [N,sH,sW,C]. */
export const softmax = operation<object>('Softmax', (b, [x], [out]) => [
  b.result(b.one('Softmax', [b.plain(x!)], { axis: out!.shape.length - 1 }), out!),
]);
