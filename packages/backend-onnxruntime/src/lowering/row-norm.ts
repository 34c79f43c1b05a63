import { rowMajor } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';

function vector(name: string, length: number): Physical {
  return { name, dims: [length], type: 'float32', layout: rowMajor([length]) };
}

/** The mean over the columns of a `[R, C]` product, `[R, 1]`. */
function rowMean(b: GraphBuilder, x: string): string {
  return b.one('ReduceMean', [x, b.ints([1])], { keepdims: 1 });
}

function columnSum(b: GraphBuilder, x: string): string {
  return b.one('ReduceSum', [x, b.ints([0])], { keepdims: 0 });
}

/** y = (x - mean) r scale + shift over rows, one fused operator. Ba, Kiros and Hinton 2016. */
export const layerNorm = operation<{ epsilon: number; scale: boolean; shift: boolean }>(
  'LayerNorm',
  (b, [x, ...vectors], outs, { epsilon, ...has }) => {
    const [, columns] = outs[0]!.shape as [number, number];
    const scale = has.scale ? b.plain(vectors[0]!) : b.one('Expand', [b.scalar(1), b.ints([columns])]);
    const shift = has.shift ? [b.plain(vectors[has.scale ? 1 : 0]!)] : [];
    const names = b.emit('LayerNormalization', [b.plain(x!), scale, ...shift], {
      attributes: { axis: 1, epsilon: { float: epsilon } },
      outputs: 3,
    });
    return names.map((name, index) => b.result(name, outs[index]!));
  },
);

/** dx = r (g - mean(g) - z mean(g z)) with z = (x - mean) r, g = dy scale; dScale = sum dy z, dShift = sum dy. */
export const layerNormGradient = operation<{ scale: boolean }>(
  'LayerNormGradient',
  (b, [x, dy, mean, inverse, scale], outs, has) => {
    const [, columns] = outs[0]!.shape as [number, number];
    const gradient = b.plain(dy!);
    const r = b.plain(inverse!);
    const z = b.one('Mul', [b.one('Sub', [b.plain(x!), b.plain(mean!)]), r]);
    const g = has.scale ? b.one('Mul', [gradient, b.plain(scale!)]) : gradient;
    const meanGz = rowMean(b, b.one('Mul', [g, z]));
    const centred = b.one('Sub', [b.one('Sub', [g, b.one('Mul', [z, meanGz])]), rowMean(b, g)]);
    return [
      b.result(b.one('Mul', [centred, r]), outs[0]!),
      vector(columnSum(b, b.one('Mul', [gradient, z])), columns),
      vector(columnSum(b, gradient), columns),
    ];
  },
);

/** y = x r scale with r = 1 / sqrt(mean(x^2) + epsilon). Zhang and Sennrich 2019. */
export const rmsNorm = operation<{ epsilon: number; scale: boolean }>(
  'RmsNorm',
  (b, [x, scale], outs, { epsilon, ...has }) => {
    const input = b.plain(x!);
    const square = rowMean(b, b.one('Mul', [input, input]));
    const r = b.one('Reciprocal', [b.one('Sqrt', [b.one('Add', [square, b.scalar(epsilon)])])]);
    const z = b.one('Mul', [input, r]);
    const y = has.scale ? b.one('Mul', [z, b.plain(scale!)]) : z;
    return [b.result(y, outs[0]!), b.result(r, outs[1]!)];
  },
);

/** dx = r (g - z mean(g z)) with z = x r, g = dy scale; dScale = sum dy z. */
export const rmsNormGradient = operation<{ scale: boolean }>(
  'RmsNormGradient',
  (b, [x, dy, inverse, scale], outs, has) => {
    const [, columns] = outs[0]!.shape as [number, number];
    const gradient = b.plain(dy!);
    const r = b.plain(inverse!);
    const z = b.one('Mul', [b.plain(x!), r]);
    const g = has.scale ? b.one('Mul', [gradient, b.plain(scale!)]) : gradient;
    const meanGz = rowMean(b, b.one('Mul', [g, z]));
    const centred = b.one('Sub', [g, b.one('Mul', [z, meanGz])]);
    return [b.result(b.one('Mul', [centred, r]), outs[0]!), vector(columnSum(b, b.one('Mul', [gradient, z])), columns)];
  },
);
