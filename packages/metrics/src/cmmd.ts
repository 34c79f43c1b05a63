import { checkPair, type Features } from './features.js';
import { rowProducts } from './linear-algebra/row-products.js';

/** The kernel of {@link cmmd}. The defaults are the paper's. */
export interface CmmdOptions {
  /** Width of the Gaussian kernel. Default 10. */
  readonly sigma?: number;
  /** Factor of the result. Default 1000. */
  readonly scale?: number;
}

const BLOCK = 256;

/**
 * CMMD: `scale (mean k(x, x') + mean k(y, y') - 2 mean k(x, y))`, k = exp(-|x - y|^2 / 2 sigma^2), over all pairs, a row with itself
 * included, of rows of unit length. S. Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image
 * Generation" (2024), eq. 4, as its code computes it. The features are CLIP ViT-L/14's at 336 pixels.
 *
 * @throws InvalidArgumentError for no rows, dims that differ, or numbers that are not finite
 */
export function cmmd(a: Features, b: Features, { sigma = 10, scale = 1000 }: CmmdOptions = {}): number {
  checkPair('cmmd', { a, b }, 1);
  const gamma = 1 / (2 * sigma * sigma);
  const [x, y] = [unitRows(a), unitRows(b)];
  return scale * (meanKernel(x, x, gamma) + meanKernel(y, y, gamma) - 2 * meanKernel(x, y, gamma));
}

/** Rows divided by their lengths; a row of zeros stays one. */
export function unitRows({ data, count, dim }: Features): Features {
  const out = Float64Array.from(data);
  for (let i = 0; i < count; i++) {
    const row = out.subarray(i * dim, (i + 1) * dim);
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)) || 1;
    for (let k = 0; k < dim; k++) row[k]! /= length;
  }
  return { data: out, count, dim };
}

/** Mean of exp(-gamma |x - y|^2) over all pairs of rows. */
function meanKernel(a: Features, b: Features, gamma: number): number {
  const [lengthsA, lengthsB] = [squaredLengths(a), squaredLengths(b)];
  const block = new Float64Array(BLOCK * BLOCK);
  let sum = 0;
  for (let i0 = 0; i0 < a.count; i0 += BLOCK) {
    for (let j0 = 0; j0 < b.count; j0 += BLOCK) {
      const [rows, columns] = [Math.min(BLOCK, a.count - i0), Math.min(BLOCK, b.count - j0)];
      rowProducts({ data: a.data, from: i0, count: rows }, { data: b.data, from: j0, count: columns }, a.dim, block);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          const distance = lengthsA[i0 + i]! + lengthsB[j0 + j]! - 2 * block[i * columns + j]!;
          sum += Math.exp(-gamma * distance);
        }
      }
    }
  }
  return sum / (a.count * b.count);
}

/** |x|^2 of each row. */
function squaredLengths({ data, count, dim }: Features): Float64Array {
  const out = new Float64Array(count);
  for (let k = 0; k < data.length; k++) out[Math.floor(k / dim)]! += data[k]! * data[k]!;
  return out;
}
