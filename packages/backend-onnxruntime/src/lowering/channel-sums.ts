import { reshaped, shapeOf } from '../graph/layout.js';
import type { GraphBuilder, Physical } from './builder.js';
import { blockedRows } from './image-layout.js';

const NCHWC = 'com.microsoft.nchwc';

/**
 * Work on a map `[N, P, C]` whose channels lie in blocks, through ONNX Runtime's direct convolutions: the channels of all
 * images side by side are N C channels of one image, and a depthwise convolution of it is, in one pass over memory,
 * a scale and a shift for each channel, or the sum over the positions of the product of two maps.
 */
export interface BlockedMap {
  readonly value: Physical;
  readonly n: number;
  readonly positions: number;
  readonly channels: number;
}

/** `[N, ..., C]` as a blocked map; undefined where the channels are not whole blocks. */
export function asBlockedMap(b: GraphBuilder, x: Physical): BlockedMap | undefined {
  const shape = shapeOf(x.layout);
  const channels = shape.at(-1)!;
  if (b.blockSize < 2 || channels % b.blockSize !== 0 || shape.length < 2 || x.type !== 'float32') return undefined;
  const n = shape[0]!;
  const positions = shape.slice(1, -1).reduce((count, size) => count * size, 1);
  const flat = reshaped(x.layout, [n, positions, channels]);
  if (flat === undefined) return undefined;
  const value = b.relayout({ ...x, layout: flat }, blockedRows([n, positions, channels], b.blockSize));
  return { value, n, positions, channels };
}

/** True when the map lies in blocks already, so that working in blocks moves nothing. */
export function isBlocked(b: GraphBuilder, x: Physical): boolean {
  const shape = shapeOf(x.layout);
  const channels = shape.at(-1)!;
  if (b.blockSize < 2 || channels % b.blockSize !== 0 || shape.length < 2 || x.type !== 'float32') return false;
  const positions = shape.slice(1, -1).reduce((count, size) => count * size, 1);
  const flat = reshaped(x.layout, [shape[0]!, positions, channels]);
  return flat !== undefined && flat.key === blockedRows([shape[0]!, positions, channels], b.blockSize).key;
}

/** Rows of at most 64 positions: sums of rows first, so that rounding grows with the row and not with the image. */
function rowsOf(positions: number): [rows: number, columns: number] {
  let columns = Math.min(positions, 64);
  while (positions % columns !== 0) columns--;
  return columns < 8 ? [1, positions] : [positions / columns, columns];
}

/** The sum over the positions for every image and channel, `[N, C]`. */
export function channelSum(b: GraphBuilder, { value, n, positions, channels }: BlockedMap): string {
  const { blockSize } = b;
  const grid = b.view(value, [(n * channels) / blockSize, positions, blockSize]);
  const sums = b.one('ReduceSum', [grid, b.ints([1])], { keepdims: 0 });
  return b.one('Reshape', [sums, b.ints([n, channels])]);
}

/** The sum over the positions of x y for every image and channel, `[N, C]`. */
export function channelDot(b: GraphBuilder, x: BlockedMap, y: BlockedMap): string {
  const { n, positions, channels } = x;
  const { blockSize } = b;
  const [rows, columns] = rowsOf(positions);
  const groups = n * channels * rows;
  const partial = b.one(
    'Conv',
    [b.view(x.value, [1, groups, 1, columns]), b.view(y.value, [groups, 1, 1, columns])],
    { kernel_shape: [1, columns], group: groups },
    NCHWC,
  );
  if (rows === 1) return b.one('Reshape', [partial, b.ints([n, channels])]);
  const grid = b.one('Reshape', [partial, b.ints([(n * channels) / blockSize, rows, blockSize])]);
  return b.one('Reshape', [b.one('ReduceSum', [grid, b.ints([1])], { keepdims: 0 }), b.ints([n, channels])]);
}

/** scale x + shift (+ sum), scale and shift `[N, C]` in names, in one pass. */
export function channelAffine(
  b: GraphBuilder,
  x: BlockedMap,
  scale: string,
  shift: string | undefined,
  sum?: BlockedMap,
): Physical {
  const { n, positions, channels } = x;
  const groups = n * channels;
  const [rows, columns] = rowsOf(positions);
  const image = [1, groups, rows, columns];
  const operands = [b.view(x.value, image), b.one('Reshape', [scale, b.ints([groups, 1, 1, 1])])];
  if (shift !== undefined || sum !== undefined) {
    operands.push(shift === undefined ? '' : b.one('Reshape', [shift, b.ints([groups])]));
  }
  if (sum !== undefined) operands.push(b.view(sum.value, image));
  const name = b.one('Conv', operands, { kernel_shape: [1, 1], group: groups }, NCHWC);
  return { name, dims: image, type: 'float32', layout: blockedRows([n, positions, channels], b.blockSize) };
}
