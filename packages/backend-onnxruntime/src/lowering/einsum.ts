import { operation } from '../graph/node.js';

/** ONNX's Einsum, of letters as in `ij,jk->ik`. */
export const einsum = operation<{ equation: string }>('Einsum', (b, inputs, [out], { equation }) => [
  b.result(
    b.one(
      'Einsum',
      inputs.map((x) => b.plain(x)),
      { equation },
    ),
    out!,
  ),
]);
