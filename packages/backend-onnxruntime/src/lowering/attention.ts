import { inOrder, transposed } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';

type Shape4 = readonly [number, number, number, number];

const HEADS_INSIDE = [0, 2, 1, 3];

/** `[N, h, T, d]` in the order N, T, h, d, as `[N, T, h d]`: free where the heads were split from `[N, T, h d]`. */
function tokens(b: GraphBuilder, x: Physical, [n, heads, t, d]: Shape4): string {
  const layout = inOrder([n, t, heads, d].map((size) => (size === 1 ? [] : [size])));
  return b.view(b.relayout(x, transposed(layout, HEADS_INSIDE)), [n, t, heads * d]);
}

/**
 * o = softmax(scale q k^T + mask) v by ONNX Runtime's fused operator, which goes through long sequences block by block
 * and never holds all scores (Dao et al. 2022). Inference only: there is no gradient of it.
 */
export const attention = operation<{ scale: number; shapes: readonly Shape4[] }>(
  'Attention',
  (b, [q, k, v, mask], [out], { scale, shapes }) => {
    const [n, heads, t, width] = out!.shape as unknown as Shape4;
    const inputs = [q!, k!, v!].map((x, index) => tokens(b, x, shapes[index]!));
    // The operator takes a scale of 0 for none given.
    if (scale === 0) inputs[0] = b.one('Mul', [inputs[0]!, b.scalar(0)]);
    // Inputs in order: query, key, value, bias, key padding mask, attention bias.
    if (mask !== undefined) inputs.push('', '', b.plain(mask));
    const name = b.one(
      'MultiHeadAttention',
      inputs,
      { num_heads: heads, scale: { float: scale || 1 } },
      'com.microsoft',
    );
    const layout = inOrder([n, t, heads, width].map((size) => (size === 1 ? [] : [size])));
    return [{ name, dims: [n, t, heads * width], type: 'float32', layout: transposed(layout, HEADS_INSIDE) }];
  },
);
