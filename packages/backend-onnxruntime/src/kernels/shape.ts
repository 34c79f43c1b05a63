import { InvalidArgumentError, sizeOf } from '@mezzotint/core';
import type {
  BatchToSpaceNDAttrs,
  ConcatAttrs,
  DepthToSpaceAttrs,
  ExpandDimsAttrs,
  KernelConfig,
  MirrorPadAttrs,
  PackAttrs,
  PadV2Attrs,
  ReshapeAttrs,
  ReverseAttrs,
  SliceAttrs,
  SpaceToBatchNDAttrs,
  SplitVAttrs,
  StridedSliceAttrs,
  TileAttrs,
  TransposeAttrs,
  UnpackAttrs,
} from '@tensorflow/tfjs-core';
import { backend_util, slice_util, util } from '@tensorflow/tfjs-core';
import { reshaped, transposed } from '../graph/layout.js';
import { Value } from '../graph/value.js';
import { concat, pad, reshape, slice, tile, transpose } from '../lowering/shape.js';
import { kernel, type Tracer } from './kernel.js';

/** The same elements under another shape; stored ones are shared at once. */
export function reshapeValue(tracer: Tracer, x: Value, shape: readonly number[]): Value {
  if (String(x.shape) === String(shape)) return x;
  const layout = x.buffer === undefined ? undefined : reshaped(x.buffer.layout, shape);
  if (layout === undefined) return tracer.one(reshape({}), [x], { shape, type: x.type });
  return view(x, shape, layout);
}

/** Axes in another order; stored ones are shared at once. */
export function transposeValue(tracer: Tracer, x: Value, permutation: readonly number[]): Value {
  if (permutation.every((axis, at) => axis === at)) return x;
  const shape = permutation.map((axis) => x.shape[axis]!);
  if (x.buffer !== undefined) return view(x, shape, transposed(x.buffer.layout, permutation));
  return tracer.one(transpose({ permutation }), [x], { shape, type: x.type });
}

/** Elements from `begin` to `end` (exclusive) of every axis. */
export function sliceValue(
  tracer: Tracer,
  x: Value,
  begins: readonly number[],
  ends: readonly number[],
  strides: readonly number[] = begins.map(() => 1),
): Value {
  const shape = begins.map((begin, axis) => Math.max(0, Math.ceil((ends[axis]! - begin) / strides[axis]!)));
  return tracer.one(slice({ begins, ends, strides }), [x], { shape, type: x.type });
}

function view(x: Value, shape: readonly number[], layout: ReturnType<typeof transposed>): Value {
  const value = new Value(shape, x.type);
  value.buffer = x.buffer!.share(layout);
  value.fill = x.fill;
  return value;
}

function joined(tracer: Tracer, parts: readonly Value[], axis: number): Value {
  const shape = backend_util.computeOutShape(
    parts.map((part) => [...part.shape]),
    axis,
  );
  return parts.length === 1 ? parts[0]! : tracer.one(concat({ axis }), parts, { shape, type: parts[0]!.type });
}

export const shapeKernels: readonly KernelConfig[] = [
  kernel<ReshapeAttrs>(
    'Reshape',
    (tracer, { input }, { shape }) => {
      const x = input('x');
      const known = util.inferFromImplicitShape(shape, x.size);
      if (sizeOf(known) !== x.size) {
        throw new InvalidArgumentError('Reshape', `expected ${x.size} elements, got the shape [${known}]`);
      }
      return reshapeValue(tracer, x, known);
    },
    { views: 'x' },
  ),
  kernel<ExpandDimsAttrs>(
    'ExpandDims',
    (tracer, { input }, { dim }) => {
      const x = input('input');
      util.assert(
        -(x.shape.length + 1) <= dim,
        () => `expected an axis in [${-(x.shape.length + 1)}, ${x.shape.length}], got ${dim}`,
      );
      const at = dim < 0 ? x.shape.length + dim + 1 : dim;
      return reshapeValue(tracer, x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
    },
    { views: 'input' },
  ),
  kernel<TransposeAttrs>('Transpose', (tracer, { input }, { perm }) => transposeValue(tracer, input('x'), perm)),
  kernel<SliceAttrs>('Slice', (tracer, { input }, { begin, size }) => {
    const x = input('x');
    const [from, sizes] = slice_util.parseSliceParams({ shape: [...x.shape] } as never, begin, size) as [
      number[],
      number[],
    ];
    slice_util.assertParamsValid({ shape: [...x.shape], rank: x.shape.length } as never, from, sizes);
    return sliceValue(
      tracer,
      x,
      from,
      from.map((start, axis) => start + sizes[axis]!),
    );
  }),
  kernel<StridedSliceAttrs>('StridedSlice', (tracer, { input }, attributes) => {
    const x = input('x');
    const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attributes;
    const info = slice_util.sliceInfo(
      [...x.shape],
      begin,
      end,
      strides,
      beginMask,
      endMask,
      ellipsisMask,
      newAxisMask,
      shrinkAxisMask,
    );
    if (info.finalShapeSparse.includes(0)) return tracer.empty({ shape: info.finalShape, type: x.type });
    if (info.isIdentity) return reshapeValue(tracer, x, info.finalShape);
    const cut = sliceValue(tracer, x, info.begin, info.end, info.strides);
    return reshapeValue(tracer, cut, info.finalShape);
  }),
  kernel<ConcatAttrs>('Concat', (tracer, { all }, { axis }) => {
    const at = util.parseAxisParam(axis, [...all[0]!.shape])[0]!;
    backend_util.assertParamsConsistent(
      all.map((x) => [...x.shape]),
      at,
    );
    if (all.some((x) => x.type !== all[0]!.type)) return undefined;
    return joined(tracer, all, at);
  }),
  kernel<PackAttrs>('Pack', (tracer, { all }, { axis }) => {
    const rank = all[0]!.shape.length + 1;
    const at = axis < 0 ? axis + rank : axis;
    for (const { shape } of all) {
      util.assertShapesMatch([...all[0]!.shape], [...shape], 'All tensors passed to stack must have matching shapes');
    }
    if (all.some((x) => x.type !== all[0]!.type)) return undefined;
    const parts = all.map((x) => reshapeValue(tracer, x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]));
    return joined(tracer, parts, at);
  }),
  kernel<UnpackAttrs>('Unpack', (tracer, { input }, { axis }) => {
    const x = input('value');
    const at = axis < 0 ? axis + x.shape.length : axis;
    const shape = x.shape.filter((_, other) => other !== at);
    return Array.from({ length: x.shape[at]! }, (_, index) => {
      const begins = x.shape.map((__, other) => (other === at ? index : 0));
      const ends = x.shape.map((size, other) => (other === at ? index + 1 : size));
      return reshapeValue(tracer, sliceValue(tracer, x, begins, ends), shape);
    });
  }),
  kernel<SplitVAttrs>('SplitV', (tracer, { input }, { numOrSizeSplits, axis }) => {
    const x = input('x');
    const at = util.parseAxisParam(axis, [...x.shape])[0]!;
    const sizes = backend_util.prepareSplitSize({ shape: [...x.shape] } as never, numOrSizeSplits, at);
    let start = 0;
    return sizes.map((size) => {
      const begins = x.shape.map((_, other) => (other === at ? start : 0));
      const ends = x.shape.map((whole, other) => (other === at ? start + size : whole));
      start += size;
      return sliceValue(tracer, x, begins, ends);
    });
  }),
  kernel<PadV2Attrs>('PadV2', (tracer, { input }, { paddings, constantValue }) => {
    const x = input('x');
    if (x.type === 'bool') return undefined;
    if (paddings.every(([before, after]) => before === 0 && after === 0)) return x;
    const shape = x.shape.map((size, axis) => size + paddings[axis]![0] + paddings[axis]![1]);
    if (constantValue === 0) return tracer.one(pad({ paddings, mode: 'constant' }), [x], { shape, type: x.type });
    const value = tracer.filled([], x.type, constantValue);
    return tracer.one(pad({ paddings, mode: 'constant' }), [x, value], { shape, type: x.type });
  }),
  kernel<MirrorPadAttrs>('MirrorPad', (tracer, { input }, { paddings, mode }) => {
    const x = input('x');
    if (mode !== 'reflect' || x.type === 'bool') return undefined;
    const shape = x.shape.map((size, axis) => size + paddings[axis]![0] + paddings[axis]![1]);
    return tracer.one(pad({ paddings, mode: 'reflect' }), [x], { shape, type: x.type });
  }),
  kernel<TileAttrs>('Tile', (tracer, { input }, { reps }) => {
    const x = input('x');
    const shape = x.shape.map((size, axis) => size * reps[axis]!);
    if (x.type === 'bool') return undefined;
    return tracer.one(tile({ reps }), [x], { shape, type: x.type });
  }),
  kernel<ReverseAttrs>('Reverse', (tracer, { input }, { dims }) => {
    const x = input('x');
    const turned = new Set(x.shape.length === 0 ? [] : util.parseAxisParam(dims, [...x.shape]));
    if (turned.size === 0) return x;
    const begins = x.shape.map((size, axis) => (turned.has(axis) ? size - 1 : 0));
    const ends = x.shape.map((size, axis) => (turned.has(axis) ? -1 : size));
    return sliceValue(
      tracer,
      x,
      begins,
      ends,
      x.shape.map((_, axis) => (turned.has(axis) ? -1 : 1)),
    );
  }),
  kernel<object>('FlipLeftRight', (tracer, { input }) => {
    const x = input('image');
    const begins = x.shape.map((size, axis) => (axis === 2 ? size - 1 : 0));
    const ends = x.shape.map((size, axis) => (axis === 2 ? -1 : size));
    return sliceValue(
      tracer,
      x,
      begins,
      ends,
      x.shape.map((_, axis) => (axis === 2 ? -1 : 1)),
    );
  }),
  kernel<DepthToSpaceAttrs>('DepthToSpace', (tracer, { input }, { blockSize: s, dataFormat }) => {
    const x = input('x');
    if (dataFormat !== 'NHWC') return undefined;
    const [n, h, w, c] = x.shape as [number, number, number, number];
    const depth = c / (s * s);
    const split = reshapeValue(tracer, x, [n, h, w, s, s, depth]);
    const moved = transposeValue(tracer, split, [0, 1, 3, 2, 4, 5]);
    return reshapeValue(tracer, moved, [n, h * s, w * s, depth]);
  }),
  kernel<SpaceToBatchNDAttrs>('SpaceToBatchND', (tracer, { input }, { blockShape, paddings }) => {
    const x = input('x');
    if (x.type === 'bool') return undefined;
    const blocks = blockShape.reduce((n, d) => n * d, 1);
    const pads: [number, number][] = [[0, 0], ...(paddings as [number, number][])];
    while (pads.length < x.shape.length) pads.push([0, 0]);
    const shape = x.shape.map((size, axis) => size + pads[axis]![0] + pads[axis]![1]);
    const padded = pads.every(([a, b]) => a === 0 && b === 0)
      ? x
      : tracer.one(pad({ paddings: pads, mode: 'constant' }), [x], { shape, type: x.type });
    const split = reshapeValue(tracer, padded, backend_util.getReshaped(shape, blockShape, blocks, false));
    const order = backend_util.getPermuted(split.shape.length, blockShape.length, false);
    return reshapeValue(
      tracer,
      transposeValue(tracer, split, order),
      backend_util.getReshapedPermuted(shape, blockShape, blocks, false),
    );
  }),
  kernel<BatchToSpaceNDAttrs>('BatchToSpaceND', (tracer, { input }, { blockShape, crops }) => {
    const x = input('x');
    const blocks = blockShape.reduce((n, d) => n * d, 1);
    const shape = [...x.shape];
    const split = reshapeValue(tracer, x, backend_util.getReshaped(shape, blockShape, blocks));
    const order = backend_util.getPermuted(split.shape.length, blockShape.length);
    const moved = transposeValue(tracer, split, order);
    const grid = reshapeValue(tracer, moved, backend_util.getReshapedPermuted(shape, blockShape, blocks));
    // The axes after the blocks stay whole.
    const begins = grid.shape.map((_, axis) => (axis === 0 ? 0 : (crops[axis - 1]?.[0] ?? 0)));
    const ends = grid.shape.map((size, axis) => size - (axis === 0 ? 0 : (crops[axis - 1]?.[1] ?? 0)));
    return sliceValue(tracer, grid, begins, ends);
  }),
];
