import { operation } from '../graph/node.js';
import { elementwise } from './elementwise.js';

/** |re + i im| = m sqrt(1 + (n/m)^2) with m the larger and n the smaller part: no overflow in between. */
export const complexAbs = operation<object>('ComplexAbs', (b, [re, im], [out]) => [
  elementwise(b, [re!, im!], out!, (p, q) => {
    const [x, y] = [b.one('Abs', [p]), b.one('Abs', [q])];
    const [large, small] = [b.one('Max', [x, y]), b.one('Min', [x, y])];
    const zero = b.one('Equal', [large, b.scalar(0)]);
    const ratio = b.one('Div', [small, b.one('Where', [zero, b.scalar(1), large])]);
    const root = b.one('Sqrt', [b.one('Add', [b.scalar(1), b.one('Mul', [ratio, ratio])])]);
    return b.one('Mul', [large, root]);
  }),
]);
