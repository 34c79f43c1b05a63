import type { GraphBuilder, Physical } from './builder.js';
import type { ConvGeometry } from './conv.js';
import { channelsBlocked, filterBlocked } from './image-layout.js';

const NCHWC = 'com.microsoft.nchwc';

/**
 * dW[kh, kw, i, o] = sum over n, h, w of X[n, h + kh - top, w + kw - left, i] dY[n, h, w, o] as one convolution, for
 * batches of whole blocks. Its channels are the pairs (column, image), a block of them being images of one column, so
 * a shift by kw moves whole blocks: dY is brought to its place once, and its columns are then gathered for each kw.
 * The convolution's image has the rows h and the columns i, its filter the rows of dY, and its outputs are (kw, o).
 */
export function filterGradientOfBatch(
  b: GraphBuilder,
  x: Physical,
  dy: Physical,
  { input, filter, output, pads }: ConvGeometry,
): Physical {
  const block = b.blockSize;
  const tile = block * block;
  const [n, h, w, inputs] = input;
  const [kh, kw, , outputs] = filter;
  const [, oh, ow] = output;
  const [top, left, bottom] = pads;
  const [batch, i, o] = [n / block, inputs / block, outputs / block];
  // Two images of half the columns: work for the second thread, whatever the number of outputs is.
  const halves = i % 2 === 0 ? 2 : 1;

  const stored = b.view(b.relayout(x, channelsBlocked(input, block)), [1, n, 1, i * h * w * block]);
  const images = b.one('ReorderInput', [stored], undefined, NCHWC);
  const grid = b.one('Reshape', [images, b.ints([batch, halves, i / halves, h, w, tile])]);
  const columns = b.one('Transpose', [grid], { perm: [1, 4, 0, 3, 2, 5] });
  const source = b.one('Reshape', [columns, b.ints([halves, w * n, h, inputs / halves])]);

  const gradient = b.view(b.relayout(dy, channelsBlocked(output, block)), [batch, block, o, oh, ow, block]);
  const turned = b.one('Transpose', [gradient], { perm: [2, 4, 0, 3, 1, 5] });
  const places = shifted(b, turned, [o, ow, batch * oh * tile], { kw, w, left });
  const weights = b.one('Reshape', [places, b.ints([outputs * kw, w * n, oh, 1])]);

  const made = b.one('Conv', [source, weights], { kernel_shape: [oh, 1], pads: [top, 0, bottom, 0] }, NCHWC);
  const parts = b.one('Reshape', [made, b.ints([halves, o, kw, kh, i / halves, tile])]);
  const name = b.one('Transpose', [parts], { perm: [1, 0, 4, 3, 2, 5] });
  return { name, dims: [o, halves, i / halves, kh, kw, tile], type: 'float32', layout: filterBlocked(filter, block) };
}

/** Columns of `[O, columns, rest]` as each kw needs them beside the columns of X, `[O, kw, w, rest]`; zeros where there are none. */
function shifted(
  b: GraphBuilder,
  columns: string,
  [o, ow, rest]: readonly [number, number, number],
  { kw, w, left }: { readonly kw: number; readonly w: number; readonly left: number },
): string {
  const [before, after] = [kw - 1 - left, w - ow + left];
  if (kw === 1 && before === 0 && after === 0) return columns;
  const flat = b.one('Reshape', [columns, b.ints([o, ow, rest])]);
  const padded = b.one('Pad', [flat, b.ints([0, before, 0, 0, after, 0])]);
  const indices = Array.from({ length: kw }, (_, k) => Array.from({ length: w }, (_, at) => at + kw - 1 - k)).flat();
  return b.one('Gather', [padded, b.one('Reshape', [b.ints(indices), b.ints([kw, w])])], { axis: 1 });
}
