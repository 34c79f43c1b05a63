import { operation } from '../graph/node.js';
import { elementwise } from './elementwise.js';

/** dx = dy s (1 + x (1 - s)) with s = sigmoid(x); x (1 - s) = x sigmoid(-x) is one fused operator. */
export const siluGradient = operation<object>('SiluGradient', (b, [x, dy], [out]) => [
  elementwise(b, [x!, dy!], out!, (input, gradient) => {
    const rest = b.one('QuickGelu', [input], { alpha: { float: -1 } }, 'com.microsoft');
    const slope = b.one('Mul', [b.one('Sigmoid', [input]), b.one('Add', [rest, b.scalar(1)])]);
    return b.one('Mul', [slope, gradient]);
  }),
]);
