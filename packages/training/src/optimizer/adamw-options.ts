import { InvalidArgumentError } from '@mezzotint/core';

/** AdamW's constants; PyTorch's defaults. */
export interface AdamWOptions {
  /** Decay rates of the two moments; 0.9 and 0.999 when absent. */
  readonly betas?: readonly [number, number];
  /** 1e-8 when absent. */
  readonly epsilon?: number;
  /** Decoupled: each update first multiplies the parameter by 1 - rate * decay. 0.01 when absent; 0 is Adam. */
  readonly weightDecay?: number;
  /** Which parameters decay, by state-dict key and memory shape; all when absent. `matricesOnly` leaves vectors out. */
  readonly decays?: (path: string, shape: readonly number[]) => boolean;
}

/** Decays what has two axes or more: weights, not biases and norms. */
export function matricesOnly(_path: string, shape: readonly number[]): boolean {
  return shape.length >= 2;
}

/** The options with their defaults, checked. */
export function completeAdamWOptions({
  betas: [beta1, beta2] = [0.9, 0.999],
  epsilon = 1e-8,
  weightDecay = 0.01,
  decays = () => true,
}: AdamWOptions) {
  const problems: string[] = [];
  for (const beta of [beta1, beta2]) {
    if (!(beta >= 0 && beta < 1)) problems.push(`each beta must be in [0, 1), got ${beta}`);
  }
  if (!(epsilon >= 0)) problems.push(`epsilon must be at least 0, got ${epsilon}`);
  if (!(weightDecay >= 0)) problems.push(`weightDecay must be at least 0, got ${weightDecay}`);
  if (problems.length > 0) throw new InvalidArgumentError('AdamW', problems);
  return { beta1, beta2, epsilon, weightDecay, decays };
}

/** The scalars of one update; all the arithmetic that is not per element, in float64. */
export interface AdamWScalars {
  /** rate / (1 - beta1^t) */
  readonly stepSize: number;
  /** 1 / sqrt(1 - beta2^t) */
  readonly rootScale: number;
  /** Factor on the gradient: micro-batches and clipping. */
  readonly gradientScale: number;
}

/** Bias corrections of update number t (Adam, Kingma and Ba 2015, algorithm 1) and the clipping factor. */
export function adamWScalars(
  t: number,
  [beta1, beta2]: readonly [number, number],
  learningRate: number,
  gradientScale: number,
): AdamWScalars {
  return {
    stepSize: learningRate / (1 - beta1 ** t),
    rootScale: 1 / Math.sqrt(1 - beta2 ** t),
    gradientScale,
  };
}
