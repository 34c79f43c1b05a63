import { operation } from '../graph/node.js';
import type { GraphBuilder } from './builder.js';
import { elementwise, map } from './elementwise.js';

export type GeluKind = 'tanh' | 'erf' | 'quick';

/** 1 / sqrt(2 pi) */
const INVERSE_ROOT_TWO_PI = 0.3989422804014327;
/** tanh(u) with u = sqrt(2 / pi) (x + c x^3) is 2 sigmoid(2 u) - 1: the factor 2 sqrt(2 / pi), and c. */
const TANH_FACTOR = 1.5957691216057308;
const TANH_CUBE = 0.044715;
const QUICK = 1.702;

const sigmoidUnit = (b: GraphBuilder, x: string, alpha: number): string =>
  b.one('QuickGelu', [x], { alpha: { float: alpha } }, 'com.microsoft');

const geluUnit = (b: GraphBuilder, x: string, kind: 'tanh' | 'erf'): string =>
  b.one('Gelu', [x], { approximate: kind === 'tanh' ? 'tanh' : 'none' });

/** d/dx x s(a x) = s (1 + a x (1 - s)) with s = sigmoid(a x); x (1 - s) = x sigmoid(-a x) is one fused operator. */
function sigmoidUnitSlope(b: GraphBuilder, x: string, alpha: number): string {
  const times = (name: string): string => (alpha === 1 ? name : b.one('Mul', [name, b.scalar(alpha)]));
  const rest = times(sigmoidUnit(b, x, -alpha));
  return b.one('Mul', [b.one('Sigmoid', [times(x)]), b.one('Add', [rest, b.scalar(1)])]);
}

/** Phi(x) + x phi(x), with the normal distribution's Phi and phi. */
function erfSlope(b: GraphBuilder, x: string): string {
  const half = b.one('Mul', [b.one('Erf', [b.one('Mul', [x, b.scalar(Math.SQRT1_2)])]), b.scalar(0.5)]);
  const density = b.one('Exp', [b.one('Mul', [b.one('Mul', [x, x]), b.scalar(-0.5)])]);
  const bell = b.one('Mul', [b.one('Mul', [x, b.scalar(INVERSE_ROOT_TWO_PI)]), density]);
  return b.one('Add', [b.one('Add', [half, b.scalar(0.5)]), bell]);
}

/**
 * y = x s with s = sigmoid(v), v = k (x + c x^3): dy/dx = s (1 + (x - y) v'), v' = k (1 + 3 c x^2). A step's graph has y
 * already, from going forward.
 */
function tanhSlope(b: GraphBuilder, x: string, y: string): string {
  const square = b.one('Mul', [x, x]);
  const line = (factor: number): string =>
    b.one('Add', [b.one('Mul', [square, b.scalar(TANH_FACTOR * factor)]), b.scalar(TANH_FACTOR)]);
  const s = b.one('Sigmoid', [b.one('Mul', [x, line(TANH_CUBE)])]);
  const rest = b.one('Sub', [x, y]);
  return b.one('Mul', [s, b.one('Add', [b.one('Mul', [rest, line(3 * TANH_CUBE)]), b.scalar(1)])]);
}

/** dx = dy d(x sigmoid(x))/dx. */
export const siluGradient = operation<object>('SiluGradient', (b, [x, dy], [out]) => [
  elementwise(b, [x!, dy!], out!, (input, gradient) => b.one('Mul', [sigmoidUnitSlope(b, input, 1), gradient])),
]);

/** GELU in its three forms (Hendrycks and Gimpel 2016). */
export const gelu = operation<{ kind: GeluKind }>('Gelu', (b, [x], _, { kind }) => [
  map(x!, 'float32', (input) => (kind === 'quick' ? sigmoidUnit(b, input, QUICK) : geluUnit(b, input, kind))),
]);

export const geluGradient = operation<{ kind: GeluKind }>('GeluGradient', (b, [x, dy], [out], { kind }) => {
  // The very node that going forward wrote: what the gradient's alignment makes of x may have another name.
  const unit = kind === 'tanh' ? [map(x!, 'float32', (input) => geluUnit(b, input, kind))] : [];
  return [
    elementwise(b, [x!, dy!, ...unit], out!, (input, gradient, y) => {
      const slope =
        kind === 'quick'
          ? sigmoidUnitSlope(b, input, QUICK)
          : kind === 'erf'
            ? erfSlope(b, input)
            : tanhSlope(b, input, y!);
      return b.one('Mul', [slope, gradient]);
    }),
  ];
});
