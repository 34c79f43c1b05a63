import { shapeOf } from '../graph/layout.js';
import type { GraphBuilder, Physical } from './builder.js';
import { asBlockedMap, type BlockedMap, channelAffine, channelDot, channelSum, isBlocked } from './channel-sums.js';

/**
 * scale x + shift for every image and channel, remembered as such: what is scaled or shifted again is written from x in
 * one pass, and a sum of its product with another map needs only the sums over x. The nodes nobody uses are dropped.
 */
export function affineMap(
  b: GraphBuilder,
  x: BlockedMap,
  scale: string,
  shift: string | undefined,
  shape: readonly number[],
): Physical {
  const made = b.reshape(channelAffine(b, x, scale, shift), shape);
  return { ...made, origin: { affine: { x: x.value, scale, shift } } };
}

/** x times, or plus, a vector `[N or 1, 1, ..., C]`, for a blocked map x; undefined where that is not what it is. */
export function foldVector(
  b: GraphBuilder,
  op: 'Multiply' | 'Add',
  x: Physical,
  vector: Physical,
  shape: readonly number[],
): Physical | undefined {
  const vectorShape = shapeOf(vector.layout);
  if (shape.length < 3 || vectorShape.at(-1) !== shape.at(-1) || String(shapeOf(x.layout)) !== String(shape))
    return undefined;
  const images = vectorShape.length === shape.length ? vectorShape[0]! : 1;
  const inner = vectorShape.slice(vectorShape.length === shape.length ? 1 : 0, -1);
  if (inner.some((size) => size !== 1) || (images !== 1 && images !== shape[0])) return undefined;
  if (!isBlocked(b, x) && x.origin?.affine === undefined) return undefined;
  const [n, channels] = [shape[0]!, shape.at(-1)!];
  const plain = b.view(b.dense(vector), [images, channels]);
  const rows = images === n ? plain : b.one('Expand', [plain, b.ints([n, channels])]);
  const known = x.origin?.affine;
  const base = asBlockedMap(b, known?.x ?? x)!;
  if (known === undefined) {
    return op === 'Multiply' ? affineMap(b, base, rows, undefined, shape) : undefined;
  }
  const shift = known.shift;
  if (op === 'Add')
    return affineMap(b, base, known.scale, shift === undefined ? rows : b.one('Add', [shift, rows]), shape);
  const scaled = b.one('Mul', [known.scale, rows]);
  return affineMap(b, base, scaled, shift === undefined ? undefined : b.one('Mul', [shift, rows]), shape);
}

/** Sums of a map over its positions, `[N, C]`; of an affine one from those of its source. */
export function sumsOf(b: GraphBuilder, x: Physical): string | undefined {
  const known = x.origin?.affine;
  const map = asBlockedMap(b, known?.x ?? x);
  if (map === undefined) return undefined;
  const sums = channelSum(b, map);
  if (known === undefined) return sums;
  const scaled = b.one('Mul', [sums, known.scale]);
  return known.shift === undefined
    ? scaled
    : b.one('Add', [scaled, b.one('Mul', [known.shift, b.scalar(map.positions)])]);
}

/** Sums over the positions of the product of two maps, `[N, C]`. */
export function dotsOf(b: GraphBuilder, x: Physical, y: Physical): string | undefined {
  const known = x.origin?.affine;
  if (known !== undefined) {
    // sum (a x + b) y = a sum x y + b sum y
    const dots = dotsOf(b, known.x, y);
    if (dots === undefined) return undefined;
    const scaled = b.one('Mul', [dots, known.scale]);
    if (known.shift === undefined) return scaled;
    const sums = sumsOf(b, y);
    return sums === undefined ? undefined : b.one('Add', [scaled, b.one('Mul', [sums, known.shift])]);
  }
  if (y.origin?.affine !== undefined) return dotsOf(b, y, x);
  const [p, q] = [asBlockedMap(b, x), asBlockedMap(b, y)];
  if (p === undefined || q === undefined) return undefined;
  return channelDot(b, p, q);
}
