import { operation } from '../graph/node.js';
import type { GraphBuilder, Physical } from './builder.js';
import { type ConvGeometry, unpadded } from './conv.js';
import { filterGradientOfBatch } from './conv-filter-gradient-batch.js';
import { channelsBlocked, filterBlocked } from './image-layout.js';

const NCHWC = 'com.microsoft.nchwc';

/**
 * dW[kh, kw, i, o] = sum over n, h, w of X[n, h + kh - top, w + kw - left, i] dY[n, h, w, o], itself as a convolution:
 * its channels are the pairs (n, w), its image has the rows h and the columns i, its filter is dY with the rows h as its
 * height, and the three outputs of one column are the rows kh. The shift by kw is a shift of dY along w, one filter
 * each. Direct kernels then run it at 140-340 GFLOP/s, where kh * kw shifted GEMMs reach 90-190.
 */
function direct(b: GraphBuilder, x: Physical, dy: Physical, { input, filter, output, pads }: ConvGeometry): Physical {
  const block = b.blockSize;
  const [n, h, own, inputs] = input;
  const w = paddedWidth(own, n, block);
  const [kh, kw, , outputs] = filter;
  const [, oh, ow] = output;
  const [top, left, bottom] = pads;
  const [i, o] = [inputs / block, outputs / block];
  // A block of channels is 16 columns, or all columns of 16 / w images.
  const columns = Math.min(w, block);
  const images = block / columns;
  const [nOuter, wOuter] = [n / images, w / columns];

  const stored = b.view(b.relayout(x, channelsBlocked(input, block)), [n * i * h, own, block]);
  const image = w === own ? stored : b.one('Pad', [stored, b.ints([0, 0, 0, 0, w - own, 0])]);
  const imageDims = [n * i * h, w, block];
  let tiles: string;
  if (images === 1) {
    const turned = reorder(b, viewOf(b, image, imageDims, [n * i * h, w, 1, block]));
    const grid = viewOf(b, turned, [n * i * h, w, 1, block], [n, i, h, wOuter, block * block]);
    tiles = b.one('Transpose', [grid], { perm: [0, 3, 2, 1, 4] });
  } else {
    const grid = viewOf(b, image, imageDims, [nOuter, images, i, h, w * block]);
    const near = b.one('Transpose', [grid], { perm: [0, 3, 2, 1, 4] });
    tiles = reorder(b, viewOf(b, near, [nOuter, h, i, images, w * block], [nOuter * h * i, block, 1, block]));
  }
  const source = viewOf(b, tiles, images === 1 ? [n, wOuter, h, i, block * block] : [nOuter * h * i, block, 1, block], [
    1,
    n * w,
    h,
    inputs,
  ]);

  const gradient = b.relayout(dy, channelsBlocked(output, block));
  const rows = b.view(gradient, [n * o * oh, ow, block]);
  const before = kw - 1 - left;
  const after = w - ow + left;
  const wide = before === 0 && after === 0 ? rows : b.one('Pad', [rows, b.ints([0, before, 0, 0, after, 0])]);
  const parts = Array.from({ length: kw }, (_, column) => {
    const start = kw - 1 - column;
    const shifted =
      before === 0 && after === 0 ? wide : b.one('Slice', [wide, b.ints([start]), b.ints([start + w]), b.ints([1])]);
    const grid = viewOf(b, shifted, [n * o * oh, w, block], [nOuter, images, o, oh, wOuter, columns * block]);
    const kernel = b.one('Transpose', [grid], { perm: [2, 0, 4, 3, 1, 5] });
    const flat = viewOf(b, kernel, [o, nOuter, wOuter, oh, images, columns * block], [outputs, n * w, oh, 1]);
    return b.one('Conv', [source, flat], { kernel_shape: [oh, 1], pads: [top, 0, bottom, 0] }, NCHWC);
  });
  const joined = parts.length === 1 ? parts[0]! : b.one('Concat', parts, { axis: 0 });
  const grid = viewOf(b, joined, [kw, outputs, kh, inputs], [kw, o, kh, i, block * block]);
  const name = b.one('Transpose', [grid], { perm: [1, 3, 2, 0, 4] });
  return { name, dims: [o, i, kh, kw, block * block], type: 'float32', layout: filterBlocked(filter, block) };
}

/** One GEMM of the shifted image with dY for every place of the filter. */
function shifted(b: GraphBuilder, x: Physical, dy: Physical, geometry: ConvGeometry): Physical {
  const { input, filter, output, strides, dilations, pads } = geometry;
  const [n, , , inputs] = input;
  const [kh, kw, , outputs] = filter;
  const [, oh, ow] = output;
  const pixels = n * oh * ow;
  const padded = pads.some((size) => size > 0)
    ? b.one('Pad', [b.plain(x), b.ints([0, pads[0], pads[1], 0, 0, pads[2], pads[3], 0])])
    : b.plain(x);
  const gradient = b.view(b.dense(dy), [pixels, outputs]);
  const parts: string[] = [];
  for (let row = 0; row < kh; row++) {
    for (let column = 0; column < kw; column++) {
      const from = [row * dilations[0], column * dilations[1]] as const;
      const to = [from[0] + (oh - 1) * strides[0] + 1, from[1] + (ow - 1) * strides[1] + 1];
      const part = b.one('Slice', [padded, b.ints(from), b.ints(to), b.ints([1, 2]), b.ints(strides)]);
      const flat = viewOf(b, part, [n, oh, ow, inputs], [pixels, inputs]);
      const product = b.one(
        'FusedMatMul',
        [flat, gradient],
        { transA: 1, transB: 0, alpha: { float: 1 } },
        'com.microsoft',
      );
      parts.push(viewOf(b, product, [inputs, outputs], [1, inputs, outputs]));
    }
  }
  const joined = parts.length === 1 ? parts[0]! : b.one('Concat', parts, { axis: 0 });
  const made = b.result(joined, { shape: filter, type: 'float32' });
  return { ...made, dims: [kh * kw, inputs, outputs] };
}

export const conv2dFilterGradient = operation<ConvGeometry>('Conv2DFilterGradient', (b, [image, dy], _, attributes) => {
  const { x, geometry } = unpadded(image!, attributes);
  if (!fitsDirect(b.blockSize, geometry)) return [shifted(b, x, dy!, geometry)];
  const lower = suitsBatch(b.blockSize, geometry) ? filterGradientOfBatch : direct;
  return [lower(b, x, dy!, geometry)];
});

/**
 * True where pairs with whole blocks of images beat pairs with whole blocks of columns: up to 1.9 times where those are
 * padded or the outputs alone would not fill the registers (four blocks); elsewhere up to 8 % slower.
 */
function suitsBatch(block: number, { input: [n, , w], filter }: ConvGeometry): boolean {
  return n % block === 0 && (w % block !== 0 || filter[3] < 4 * block);
}

function fitsDirect(block: number, { input, filter, output, strides, dilations, pads }: ConvGeometry): boolean {
  if (block < 2 || filter[2] % block !== 0 || filter[3] % block !== 0) return false;
  if (strides.some((s) => s !== 1) || dilations.some((d) => d !== 1)) return false;
  return filter[1] - 1 - pads[1] >= 0 && input[2] - output[2] + pads[1] >= 0;
}

/** The width with zeros to the right: whole blocks of columns, or of 16 / width images side by side. */
function paddedWidth(width: number, images: number, block: number): number {
  if (width > block / 2) return Math.ceil(width / block) * block;
  let power = 1;
  while (power < width) power *= 2;
  while (power < block && images % (block / power) !== 0) power *= 2;
  return power;
}

function reorder(b: GraphBuilder, name: string): string {
  return b.one('ReorderInput', [name], undefined, NCHWC);
}

function viewOf(b: GraphBuilder, name: string, from: readonly number[], to: readonly number[]): string {
  return String(from) === String(to) ? name : b.one('Reshape', [name, b.ints(to)]);
}
