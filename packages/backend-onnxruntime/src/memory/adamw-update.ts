import { add, div, mul, type SimdLoop, simdLoop, sqrt, sub, type Vector } from '../simd/loop.js';

/** What is the same for all elements of one update. */
export interface AdamWNumbers {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** 1 - rate decay */
  readonly keep: number;
  readonly gradientScale: number;
  readonly stepSize: number;
  readonly rootScale: number;
}

/** The arrays of one parameter before and after; an array may be its own successor. */
export interface AdamWArrays {
  readonly param: Float32Array;
  readonly gradient: Float32Array;
  readonly mean: Float32Array;
  readonly square: Float32Array;
  readonly newParam: Float32Array;
  readonly newMean: Float32Array;
  readonly newSquare: Float32Array;
}

/** Elements at a time: four pieces of 16 KiB, which stay in the second-level cache while they are worked on. */
const PIECE = 4096;
const STRIDE = PIECE * Float32Array.BYTES_PER_ELEMENT;
/** Places of the arrays in the loop's memory. */
const [PARAM, GRADIENT, MEAN, SQUARE] = [0, 1, 2, 3] as const;

let made: { readonly run: SimdLoop['run']; readonly pieces: readonly Float32Array[] } | undefined;

/** The update of one piece, four elements at a time; in float32, as PyTorch's. */
function loop(): NonNullable<typeof made> {
  if (made !== undefined) return made;
  const { run, memory } = simdLoop({ numbers: 8, stride: STRIDE, pages: 1 }, (body) => {
    const [share1, beta2, share2, epsilon, keep, gradientScale, stepSize, rootScale] = body.numbers as Eight;
    const g = body.let(mul(body.load(GRADIENT), gradientScale));
    const before = body.let(body.load(MEAN));
    const m = body.let(add(before, mul(sub(g, before), share1)));
    const v = body.let(add(mul(body.load(SQUARE), beta2), mul(mul(g, g), share2)));
    const root = add(mul(sqrt(v), rootScale), epsilon);
    body.store(MEAN, m);
    body.store(SQUARE, v);
    body.store(PARAM, sub(mul(body.load(PARAM), keep), div(mul(m, stepSize), root)));
  });
  const pieces = [PARAM, GRADIENT, MEAN, SQUARE].map((place) => new Float32Array(memory, place * STRIDE, PIECE));
  made = { run, pieces };
  return made;
}

type Eight = readonly [Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector];

/**
 * AdamW in one pass. Loshchilov and Hutter 2019, algorithm 2:
 * m' = m + (g - m)(1 - beta1), v' = beta2 v + (1 - beta2) g^2, p' = keep p - stepSize m' / (rootScale sqrt(v') + epsilon).
 */
export function adamWUpdate(arrays: AdamWArrays, numbers: AdamWNumbers): void {
  const { run, pieces } = loop();
  const { beta1, beta2, epsilon, keep, gradientScale, stepSize, rootScale } = numbers;
  const from = [arrays.param, arrays.gradient, arrays.mean, arrays.square];
  const to = [
    [PARAM, arrays.newParam],
    [MEAN, arrays.newMean],
    [SQUARE, arrays.newSquare],
  ] as const;
  const size = arrays.param.length;
  for (let at = 0; at < size; at += PIECE) {
    const end = Math.min(size, at + PIECE);
    const count = end - at;
    for (let place = 0; place < 4; place++) pieces[place]!.set(from[place]!.subarray(at, end));
    run(count, 1 - beta1, beta2, 1 - beta2, epsilon, keep, gradientScale, stepSize, rootScale);
    for (const [place, array] of to) array.set(pieces[place]!.subarray(0, count), at);
  }
}
