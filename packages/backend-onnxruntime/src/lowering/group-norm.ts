import { rowMajor } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';
import { affineMap, dotsOf, sumsOf } from './channel-affine.js';
import { asBlockedMap, channelAffine } from './channel-sums.js';

/** Sums over positions of `[N, P, C]` in any layout, `[N, C]`. */
function plainSums(b: GraphBuilder, rows: string, [n, , c]: readonly number[]): string {
  return b.one('Reshape', [b.one('ReduceSum', [rows, b.ints([1])], { keepdims: 0 }), b.ints([n!, c!])]);
}

/** `[N, C]` summed over the channels of each group, times a factor, `[N, G, 1]`. */
function groupSums(b: GraphBuilder, rows: string, n: number, groups: number, width: number, factor: number): string {
  const grid = b.one('Reshape', [rows, b.ints([n, groups, width])]);
  return b.one('Mul', [b.one('ReduceSum', [grid, b.ints([2])], { keepdims: 1 }), b.scalar(factor)]);
}

/**
 * y = (x - mean) r scale + shift as a x + b with a, b `[N, C]`: two sums over each channel and one pass. The variance
 * is E[x^2] - mean^2, its sums taken row by row.
 */
export const groupNorm = operation<{ groups: number; epsilon: number; scale: boolean; shift: boolean }>(
  'GroupNorm',
  (b, [x, ...vectors], outs, { groups, epsilon, ...has }) => {
    const { shape } = outs[0]!;
    const [n, positions, channels] = shape as [number, number, number];
    const width = channels / groups;
    const map = asBlockedMap(b, x!);
    const plain = map === undefined ? b.view(b.dense(x!), shape) : '';
    const sums = map === undefined ? plainSums(b, plain, shape) : sumsOf(b, map.value)!;
    const squares =
      map === undefined ? plainSums(b, b.one('Mul', [plain, plain]), shape) : dotsOf(b, map.value, map.value)!;
    const share = 1 / (positions * width);
    const mean = groupSums(b, sums, n, groups, width, share);
    const square = groupSums(b, squares, n, groups, width, share);
    const variance = b.one('Relu', [b.one('Sub', [square, b.one('Mul', [mean, mean])])]);
    const inverse = b.one('Reciprocal', [b.one('Sqrt', [b.one('Add', [variance, b.scalar(epsilon)])])]);

    const grid = (vector: Physical): string => b.view(b.dense(vector), [1, groups, width]);
    const scale = has.scale ? grid(vectors[0]!) : undefined;
    const shift = has.shift ? grid(vectors[has.scale ? 1 : 0]!) : undefined;
    const full = b.ints([n, groups, width]);
    const a = scale === undefined ? b.one('Expand', [inverse, full]) : b.one('Mul', [inverse, scale]);
    const moved = b.one('Mul', [mean, a]);
    const offset = shift === undefined ? b.one('Neg', [moved]) : b.one('Sub', [shift, moved]);

    const rows = b.ints([n, channels]);
    const y =
      map === undefined
        ? b.result(
            b.one('Add', [
              b.one('Mul', [plain, b.one('Reshape', [a, b.ints([n, 1, channels])])]),
              b.one('Reshape', [offset, b.ints([n, 1, channels])]),
            ]),
            outs[0]!,
          )
        : affineMap(b, map, b.one('Reshape', [a, rows]), b.one('Reshape', [offset, rows]), shape);
    return [y, perGroup(mean, n, groups), perGroup(inverse, n, groups)];
  },
);

function perGroup(name: string, n: number, groups: number): Physical {
  return { name, dims: [n, groups, 1], type: 'float32', layout: rowMajor([n, groups]) };
}

/**
 * With z = (x - mean) r and g = dy scale: dx = r (g - mean(g) - z mean(g z)) = a dy - p x - q, a `[N, C]`, p and q one
 * number for each group. dScale = sum dy z, dShift = sum dy.
 */
export const groupNormGradient = operation<{ groups: number; scale: boolean }>(
  'GroupNormGradient',
  (b, [x, dy, mean, inverse, scaleVector], outs, { groups, scale: hasScale }) => {
    const { shape } = outs[0]!;
    const [n, positions, channels] = shape as [number, number, number];
    const width = channels / groups;
    const map = asBlockedMap(b, x!);
    const plainX = map === undefined ? b.view(b.dense(x!), shape) : '';
    const plainDy = map === undefined ? b.view(b.dense(dy!), shape) : '';
    const sums = map === undefined ? plainSums(b, plainDy, shape) : sumsOf(b, dy!)!;
    const dots = map === undefined ? plainSums(b, b.one('Mul', [plainDy, plainX]), shape) : dotsOf(b, dy!, map.value)!;

    const toGrid = (name: string): string => b.one('Reshape', [name, b.ints([n, groups, width])]);
    const m = b.view(b.dense(mean!), [n, groups, 1]);
    const r = b.view(b.dense(inverse!), [n, groups, 1]);
    const sumDy = toGrid(sums);
    const sumDyZ = b.one('Mul', [r, b.one('Sub', [toGrid(dots), b.one('Mul', [m, sumDy])])]);
    const scale = hasScale ? b.view(b.dense(scaleVector!), [1, groups, width]) : undefined;
    const weigh = (name: string): string => (scale === undefined ? name : b.one('Mul', [name, scale]));
    const average = (name: string): string =>
      b.one('Mul', [
        b.one('ReduceSum', [weigh(name), b.ints([2])], { keepdims: 1 }),
        b.scalar(1 / (positions * width)),
      ]);
    const p = b.one('Mul', [b.one('Mul', [r, r]), average(sumDyZ)]);
    const q = b.one('Sub', [b.one('Mul', [r, average(sumDy)]), b.one('Mul', [m, p])]);
    const full = b.ints([n, groups, width]);
    const a = scale === undefined ? b.one('Expand', [r, full]) : b.one('Mul', [r, scale]);
    const spread = (name: string): string => b.one('Expand', [b.one('Neg', [name]), full]);

    let dx: Physical;
    if (map === undefined) {
      const row = (name: string): string => b.one('Reshape', [name, b.ints([n, 1, channels])]);
      const own = b.one('Mul', [plainDy, row(a)]);
      const rest = b.one('Add', [b.one('Mul', [plainX, row(spread(p))]), row(spread(q))]);
      dx = b.result(b.one('Add', [own, rest]), outs[0]!);
    } else {
      // dy may itself be v dz + w for each channel: then a dy = (a v) dz + a w.
      const known = dy!.origin?.affine;
      const rows = b.ints([n, channels]);
      const own = b.one('Reshape', [a, rows]);
      const factor = known === undefined ? own : b.one('Mul', [own, known.scale]);
      const minusQ = b.one('Reshape', [spread(q), rows]);
      const shift = known?.shift === undefined ? minusQ : b.one('Add', [minusQ, b.one('Mul', [own, known.shift])]);
      const rest = channelAffine(b, map, b.one('Reshape', [spread(p), rows]), undefined);
      const source = asBlockedMap(b, known?.x ?? dy!)!;
      dx = b.reshape(channelAffine(b, source, factor, shift, { ...map, value: rest }), shape);
    }
    const vector = (name: string): Physical => {
      const summed = b.one('ReduceSum', [b.one('Reshape', [name, b.ints([n, channels])]), b.ints([0])], {
        keepdims: 0,
      });
      return { name: summed, dims: [channels], type: 'float32', layout: rowMajor([channels]) };
    };
    return [dx, vector(sumDyZ), vector(sumDy)];
  },
);
