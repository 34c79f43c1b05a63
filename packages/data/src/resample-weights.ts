/**
 * The resampling filters of Pillow, by name: `box` (area average), `bilinear` (triangle), `bicubic` (Keys, a = -1/2) and
 * `lanczos` (three lobes).
 */
export type ResizeFilter = 'box' | 'bilinear' | 'bicubic' | 'lanczos';

interface Kernel {
  /** The kernel is zero outside of [-support, support]. */
  readonly support: number;
  readonly at: (x: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const KERNELS: Readonly<Record<ResizeFilter, Kernel>> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: keys },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** R. Keys, "Cubic convolution interpolation for digital image processing" (1981), with a = -1/2. */
function keys(x: number): number {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((d - 5) * d + 8) * d * a - 4 * a;
  return 0;
}

/** Every filter's name. */
export const RESIZE_FILTERS = Object.keys(KERNELS) as readonly ResizeFilter[];

/** Which inputs make each output along one axis. */
export interface ResampleWeights {
  /** First input of output i. */
  readonly first: Int32Array;
  /** Number of inputs of output i. */
  readonly count: Int32Array;
  /** Weights of output i, from `i * stride` on; they sum to 1. */
  readonly weights: Float64Array;
  readonly stride: number;
}

/**
 * Weights that turn `from` samples into `to`. When shrinking by r = from / to > 1 the kernel is stretched by r, which is
 * what keeps it from aliasing; output i sits at (i + 1/2) r of the input. At the borders the kernel is cut and
 * normalised again. Only outputs `start` to `start + length` are worked out; output i of the result is `start + i`.
 */
export function resampleWeights(
  from: number,
  to: number,
  filter: ResizeFilter,
  start = 0,
  length = to,
): ResampleWeights {
  const kernel = KERNELS[filter];
  const ratio = from / to;
  const stretch = Math.max(ratio, 1);
  const support = kernel.support * stretch;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  const weights = new Float64Array(length * stride);
  for (let i = 0; i < length; i++) {
    const center = (start + i + 0.5) * ratio;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(from, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let x = low; x < high; x++) {
      const weight = kernel.at((x - center + 0.5) * (1 / stretch));
      weights[i * stride + x - low] = weight;
      sum += weight;
    }
    if (sum !== 0) for (let k = 0; k < high - low; k++) weights[i * stride + k]! /= sum;
    first[i] = low;
    count[i] = high - low;
  }
  return { first, count, weights, stride };
}
