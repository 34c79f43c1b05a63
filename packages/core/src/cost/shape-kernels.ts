import * as tf from '@tensorflow/tfjs-core';

/** A tensor without its numbers. */
export interface ShapeInfo {
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
}

type Count = (macs: number) => void;
type Output = ShapeInfo | readonly ShapeInfo[];
type Rule<I, A> = (inputs: I, attrs: A, count: Count) => Output;
/** What a kernel does to shapes. Inputs and attributes are those that TensorFlow.js documents for the kernel's name. */
type AnyRule = Rule<never, never>;

interface X {
  readonly x: ShapeInfo;
}
interface AB {
  readonly a: ShapeInfo;
  readonly b: ShapeInfo;
}
type Many = Readonly<Record<string, ShapeInfo>>;

const { backend_util: backend, slice_util: slices, broadcast_util: broadcast, util } = tf;

const mutable = (shape: readonly number[]): number[] => [...shape];
const like = (x: ShapeInfo, shape: readonly number[]): ShapeInfo => ({ shape, dtype: x.dtype });
const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
const list = (inputs: Many): ShapeInfo[] => Object.values(inputs);

function broadcastShape(a: ShapeInfo, b: ShapeInfo): number[] {
  return broadcast.assertAndGetBroadcastShape(mutable(a.shape), mutable(b.shape));
}

// One input, same shape.
const first: Rule<Many, object> = (inputs) => list(inputs)[0]!;
const test: Rule<Many, object> = (inputs) => ({ shape: list(inputs)[0]!.shape, dtype: 'bool' });

// Two inputs, broadcast.
const binary: Rule<AB, object> = ({ a, b }) => ({
  shape: broadcastShape(a, b),
  dtype: tf.upcastType(a.dtype, b.dtype),
});
const floorDivision: Rule<AB, object> = ({ a, b }) => ({ shape: broadcastShape(a, b), dtype: 'int32' });
const compare: Rule<AB, object> = ({ a, b }) => ({ shape: broadcastShape(a, b), dtype: 'bool' });

// Reductions.
function reduced(shape: readonly number[], axis: number | number[] | undefined, keepDims: boolean): number[] {
  const axes = util.parseAxisParam(axis as number | number[], mutable(shape));
  return shape.flatMap((d, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [d]));
}
const reduce: Rule<X, { axis: number | number[]; keepDims: boolean }> = ({ x }, { axis, keepDims }) =>
  like(x, reduced(x.shape, axis, keepDims));
const mean: typeof reduce = ({ x }, { axis, keepDims }) => ({
  shape: reduced(x.shape, axis, keepDims),
  dtype: 'float32',
});
const maximum: Rule<X, { reductionIndices: number | number[]; keepDims: boolean }> = ({ x }, attrs) =>
  like(x, reduced(x.shape, attrs.reductionIndices, attrs.keepDims));
const argument: Rule<X, { axis: number }> = ({ x }, { axis }) => ({
  shape: reduced(x.shape, axis, false),
  dtype: 'int32',
});

// Padding.
const pad: Rule<X, { paddings: Array<[number, number]> }> = ({ x }, { paddings }) =>
  like(
    x,
    x.shape.map((d, i) => d + paddings[i]![0] + paddings[i]![1]),
  );

// Resizing of [N, H, W, C].
const resize: Rule<{ images: ShapeInfo }, { size: [number, number] }> = ({ images }, { size: [h, w] }) => ({
  shape: [images.shape[0]!, h, w, images.shape[3]!],
  dtype: 'float32',
});

const pool: Rule<X, tf.AvgPoolAttrs> = ({ x }, { filterSize, strides, pad, dimRoundingMode }) =>
  like(
    x,
    backend.computePool2DInfo(
      mutable(x.shape) as [number, number, number, number],
      filterSize,
      strides,
      1,
      pad,
      dimRoundingMode,
    ).outShape,
  );

/** [..., M, K] x [..., K, N]: M N K multiply-adds for each matrix of the batch. */
const matMul: Rule<AB, { transposeA: boolean; transposeB: boolean }> = (
  { a, b },
  { transposeA, transposeB },
  count,
) => {
  const [am, ak] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const [bk, bn] = transposeB ? [b.shape.at(-1)!, b.shape.at(-2)!] : [b.shape.at(-2)!, b.shape.at(-1)!];
  util.assert(ak === bk, () => `matMul: inner sizes differ: [${a.shape}] and [${b.shape}]`);
  const batch = broadcast.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const shape = [...batch, am, bn];
  count(size(shape) * ak);
  return { shape, dtype: tf.upcastType(a.dtype, b.dtype) };
};

type Shape4 = [number, number, number, number];
interface Convolution {
  readonly x: ShapeInfo;
  readonly filter: ShapeInfo;
}

function convolved({ x, filter }: Convolution, attrs: tf.Conv2DAttrs, depthwise: boolean): number[] {
  return backend.computeConv2DInfo(
    mutable(x.shape) as Shape4,
    mutable(filter.shape) as Shape4,
    attrs.strides,
    attrs.dilations,
    attrs.pad as Parameters<typeof backend.computeConv2DInfo>[4],
    attrs.dimRoundingMode,
    depthwise,
    depthwise ? undefined : backend.convertConv2DDataFormat(attrs.dataFormat),
  ).outShape;
}

/** Kernel [h, w, I, O]: h w I multiply-adds for each output element. */
const conv2d: Rule<Convolution, tf.Conv2DAttrs> = (inputs, attrs, count) => {
  const shape = convolved(inputs, attrs, false);
  const [h, w, i] = inputs.filter.shape as Shape4;
  count(size(shape) * h * w * i);
  return like(inputs.x, shape);
};

/** Kernel [h, w, C, multiplier]: h w multiply-adds for each output element. */
const depthwiseConv2d: Rule<Convolution, tf.Conv2DAttrs> = (inputs, attrs, count) => {
  const shape = convolved(inputs, attrs, true);
  const [h, w] = inputs.filter.shape as Shape4;
  count(size(shape) * h * w);
  return like(inputs.x, shape);
};

/** The transposed convolution: each element of dy [N, H, W, O] meets the kernel's h w I weights. */
const conv2dTransposed: Rule<{ dy: ShapeInfo; filter: ShapeInfo }, { inputShape: number[] }> = (
  { dy, filter },
  { inputShape },
  count,
) => {
  const [h, w, i] = filter.shape as Shape4;
  count(size(dy.shape) * h * w * i);
  return like(dy, inputShape);
};

const conv3d: Rule<Convolution, tf.Conv3DAttrs> = ({ x, filter }, { strides, dilations, pad }, count) => {
  const { outShape } = backend.computeConv3DInfo(
    mutable(x.shape) as [number, number, number, number, number],
    mutable(filter.shape) as [number, number, number, number, number],
    strides,
    dilations,
    pad,
  );
  count(size(outShape) * size(filter.shape.slice(0, 4)));
  return like(x, outShape);
};

const concat: Rule<Many, { axis: number }> = (inputs, { axis }) => {
  const parts = list(inputs);
  const at = util.parseAxisParam(axis, mutable(parts[0]!.shape))[0]!;
  const shape = backend.computeOutShape(
    parts.map((p) => mutable(p.shape)),
    at,
  );
  return like(parts[0]!, shape);
};

const pack: Rule<Many, { axis: number }> = (inputs, { axis }) => {
  const parts = list(inputs);
  return like(
    parts[0]!,
    parts[0]!.shape.toSpliced(axis < 0 ? axis + parts[0]!.shape.length + 1 : axis, 0, parts.length),
  );
};

const unpack: Rule<{ value: ShapeInfo }, { axis: number }> = ({ value }, { axis }) => {
  const at = util.parseAxisParam(axis, mutable(value.shape))[0]!;
  return Array.from({ length: value.shape[at]! }, () => like(value, value.shape.toSpliced(at, 1)));
};

const split: Rule<X, tf.SplitVAttrs> = ({ x }, { numOrSizeSplits, axis }) => {
  const at = util.parseAxisParam(axis, mutable(x.shape))[0]!;
  const sizes = backend.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, at);
  return sizes.map((part) => like(x, x.shape.with(at, part)));
};

const slice: Rule<X, { begin: number[]; size: number[] }> = ({ x }, { begin, size: sizes }) =>
  like(x, slices.parseSliceParams(x as tf.Tensor, begin, sizes)[1]!);

const stridedSlice: Rule<X, tf.StridedSliceAttrs> = ({ x }, attrs) => {
  const { finalShape } = slices.sliceInfo(
    mutable(x.shape),
    attrs.begin,
    attrs.end,
    attrs.strides,
    attrs.beginMask,
    attrs.endMask,
    attrs.ellipsisMask,
    attrs.newAxisMask,
    attrs.shrinkAxisMask,
  );
  return like(x, finalShape);
};

const gather: Rule<X & { indices: ShapeInfo }, { axis: number; batchDims: number }> = ({ x, indices }, attrs) => {
  const axis = util.parseAxisParam(attrs.axis, mutable(x.shape))[0]!;
  const { batchDims } = attrs;
  return like(x, [...x.shape.slice(0, axis), ...indices.shape.slice(batchDims), ...x.shape.slice(axis + 1)]);
};

const gatherNd: Rule<{ params: ShapeInfo; indices: ShapeInfo }, object> = ({ params, indices }) =>
  like(params, [...indices.shape.slice(0, -1), ...params.shape.slice(indices.shape.at(-1)!)]);

const depthToSpace: Rule<X, { blockSize: number; dataFormat: string }> = ({ x }, { blockSize, dataFormat }) => {
  const [n, a, b, c] = x.shape as Shape4;
  return like(
    x,
    dataFormat === 'NHWC'
      ? [n, a * blockSize, b * blockSize, c / blockSize ** 2]
      : [n, a / blockSize ** 2, b * blockSize, c * blockSize],
  );
};

const topK: Rule<X, { k: number }> = ({ x }, { k }) => {
  const shape = x.shape.with(-1, k);
  return [like(x, shape), { shape, dtype: 'int32' }];
};

// biome-ignore format: a list
const UNARY = [
  tf.Abs, tf.Acos, tf.Acosh, tf.Asin, tf.Asinh, tf.Atan, tf.Atanh, tf.Ceil, tf.ClipByValue, tf.Cos, tf.Cosh,
  tf.Elu, tf.Erf, tf.Exp, tf.Expm1, tf.Floor, tf.Identity, tf.LeakyRelu, tf.Log, tf.Log1p, tf.Neg, tf.OnesLike,
  tf.Reciprocal, tf.Relu, tf.Relu6, tf.Round, tf.Rsqrt, tf.Selu, tf.Sigmoid, tf.Sign, tf.Sin, tf.Sinh,
  tf.Softplus, tf.Sqrt, tf.Square, tf.Step, tf.Tan, tf.Tanh, tf.ZerosLike, tf.Softmax, tf.LogSoftmax, tf.Cumsum,
  tf.Cumprod, tf.Reverse, tf.LRN, tf.FusedBatchNorm, tf.FlipLeftRight, tf.TensorScatterUpdate, tf.MatrixBandPart,
];
const TESTS = [tf.IsFinite, tf.IsInf, tf.IsNan, tf.LogicalNot];
// biome-ignore format: a list
const BINARY = [
  tf.Add, tf.Sub, tf.Multiply, tf.RealDiv, tf.Maximum, tf.Minimum, tf.Pow, tf.SquaredDifference, tf.Mod, tf.Atan2,
  tf.BitwiseAnd,
];
// biome-ignore format: a list
const COMPARE = [
  tf.Equal, tf.NotEqual, tf.Greater, tf.GreaterEqual, tf.Less, tf.LessEqual, tf.LogicalAnd, tf.LogicalOr,
];

const each = (names: readonly string[], rule: AnyRule): Array<[string, AnyRule]> => names.map((name) => [name, rule]);

/** Shape rules by kernel name. What is not here is refused by name when a forward pass uses it. */
export const shapeKernels: Readonly<Record<string, AnyRule>> = {
  ...Object.fromEntries([
    ...each(UNARY, first),
    ...each(TESTS, test),
    ...each(BINARY, binary),
    ...each(COMPARE, compare),
    ...each([tf.Sum, tf.Prod, tf.Min, tf.All, tf.Any], reduce),
    ...each([tf.ArgMax, tf.ArgMin], argument),
    ...each([tf.PadV2, tf.MirrorPad], pad),
    ...each([tf.ResizeBilinear, tf.ResizeNearestNeighbor], resize),
    ...each([tf.AvgPool, tf.MaxPool], pool),
    ...each([tf.BatchMatMul, tf._FusedMatMul], matMul),
    ...each([tf.Conv2D, tf.FusedConv2D], conv2d),
    ...each([tf.DepthwiseConv2dNative, tf.FusedDepthwiseConv2D], depthwiseConv2d),
  ]),
  [tf.Max]: maximum,
  [tf.Mean]: mean,
  [tf.FloorDiv]: floorDivision,
  [tf.Conv2DBackpropInput]: conv2dTransposed,
  [tf.Conv3D]: conv3d,
  [tf.Concat]: concat,
  [tf.Pack]: pack,
  [tf.Unpack]: unpack,
  [tf.SplitV]: split,
  [tf.Slice]: slice,
  [tf.StridedSlice]: stridedSlice,
  [tf.GatherV2]: gather,
  [tf.GatherNd]: gatherNd,
  [tf.DepthToSpace]: depthToSpace,
  [tf.TopK]: topK,
  [tf.AddN]: first,
  [tf.Prelu]: (({ x }) => x) satisfies Rule<X, object>,
  [tf.Select]: (({ t }) => t) satisfies Rule<{ t: ShapeInfo }, object>,
  [tf.Cast]: (({ x }, { dtype }) => ({ shape: x.shape, dtype })) satisfies Rule<X, { dtype: tf.DataType }>,
  [tf.Reshape]: (({ x }, { shape }) => like(x, util.inferFromImplicitShape(shape, size(x.shape)))) satisfies Rule<
    { x: ShapeInfo },
    { shape: number[] }
  >,
  [tf.ExpandDims]: (({ input }, { dim }) =>
    like(input, input.shape.toSpliced(dim < 0 ? dim + input.shape.length + 1 : dim, 0, 1))) satisfies Rule<
    { input: ShapeInfo },
    { dim: number }
  >,
  [tf.Transpose]: (({ x }, { perm }) =>
    like(
      x,
      perm.map((axis) => x.shape[axis]!),
    )) satisfies Rule<X, { perm: number[] }>,
  [tf.Tile]: (({ x }, { reps }) =>
    like(
      x,
      x.shape.map((d, i) => d * reps[i]!),
    )) satisfies Rule<X, { reps: number[] }>,
  [tf.BroadcastTo]: (({ x }, { shape }) => like(x, shape)) satisfies Rule<X, { shape: number[] }>,
  [tf.Fill]: ((_, { shape, dtype }) => ({ shape, dtype })) satisfies Rule<
    object,
    { shape: number[]; dtype: tf.DataType }
  >,
  [tf.Range]: ((_, { start, stop, step, dtype }) => ({
    shape: [Math.max(0, Math.ceil((stop - start) / step))],
    dtype,
  })) satisfies Rule<object, { start: number; stop: number; step: number; dtype: tf.DataType }>,
  [tf.LinSpace]: ((_, { num }) => ({ shape: [num], dtype: 'float32' })) satisfies Rule<object, { num: number }>,
  [tf.OneHot]: (({ indices }, { depth, dtype }) => ({ shape: [...indices.shape, depth], dtype })) satisfies Rule<
    { indices: ShapeInfo },
    { depth: number; dtype: tf.DataType }
  >,
  [tf.UnsortedSegmentSum]: (({ x, segmentIds }, { numSegments }) =>
    like(x, [numSegments, ...x.shape.slice(segmentIds.shape.length)])) satisfies Rule<
    X & { segmentIds: ShapeInfo },
    { numSegments: number }
  >,
  [tf.ScatterNd]: (({ updates }, { shape }) => like(updates, shape)) satisfies Rule<
    { updates: ShapeInfo },
    { shape: number[] }
  >,
};
