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

/**
 * AdamW in one pass. Loshchilov and Hutter 2019, algorithm 2:
 * m' = m + (g - m)(1 - beta1), v' = beta2 v + (1 - beta2) g^2, p' = keep p - stepSize m' / (rootScale sqrt(v') + epsilon).
 */
export function adamWUpdate(arrays: AdamWArrays, numbers: AdamWNumbers): void {
  const { param, gradient, mean, square, newParam, newMean, newSquare } = arrays;
  const { beta2, epsilon, keep, gradientScale, stepSize, rootScale } = numbers;
  const share1 = 1 - numbers.beta1;
  const share2 = 1 - beta2;
  const size = param.length;
  for (let i = 0; i < size; i++) {
    const g = gradient[i]! * gradientScale;
    const m = mean[i]! + (g - mean[i]!) * share1;
    const v = square[i]! * beta2 + g * g * share2;
    newMean[i] = m;
    newSquare[i] = v;
    newParam[i] = param[i]! * keep - (stepSize * m) / (Math.sqrt(v) * rootScale + epsilon);
  }
}
