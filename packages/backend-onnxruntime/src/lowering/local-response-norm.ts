import { operation } from '../graph/node.js';
import { channelsLast, channelsSecond } from './pooling.js';

/** x (bias + alpha sum of x^2 over the `size` nearest channels)^-beta. ONNX divides alpha by the size. */
export const localResponseNorm = operation<{ size: number; bias: number; alpha: number; beta: number }>(
  'LocalResponseNorm',
  (b, [x], [out], { size, bias, alpha, beta }) => {
    const made = b.one('LRN', [channelsSecond(b, x!, 4)], {
      size,
      bias: { float: bias },
      alpha: { float: alpha * size },
      beta: { float: beta },
    });
    return [channelsLast(b, made, out!)];
  },
);
