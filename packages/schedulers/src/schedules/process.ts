import type { NoiseLevel } from '@mezzotint/core';

/**
 * The forward process that a network was trained on, in the order of its time index: x_t = alpha_t x0 + sigma_t eps,
 * t = 0 (nearly clean) to T - 1, alpha_t^2 + sigma_t^2 = 1.
 */
export interface DiscreteProcess {
  /** sqrt(bar alpha_t). */
  readonly alpha: Float64Array;
  /** sqrt(1 - bar alpha_t). */
  readonly sigma: Float64Array;
}

/** How the products of a forward process are rounded. */
export interface ProcessOptions {
  /**
   * `float64` is exact. `float32` rounds beta, 1 - beta and the stored products to float32, as PyTorch does: it
   * moves the smallest sigma of Stable Diffusion by 1.3e-5, and is what their pictures were made with.
   */
  readonly precision?: 'float64' | 'float32';
}

/** The forward process with these variances: bar alpha_t = prod_{s <= t} (1 - beta_s). DDPM, section 2. */
export function discreteProcess(
  betas: ArrayLike<number>,
  { precision = 'float64' }: ProcessOptions = {},
): DiscreteProcess {
  const round = precision === 'float32' ? Math.fround : (x: number) => x;
  let product = 1;
  const alphaBar = Float64Array.from(betas, (beta) => {
    product *= round(1 - round(beta));
    return round(product);
  });
  return { alpha: alphaBar.map(Math.sqrt), sigma: alphaBar.map((a) => Math.sqrt(1 - a)) };
}

/** sigma / alpha at a time index, on straight lines between whole ones; the form in which VE solvers see the forward process. */
export function noiseRatioAt({ alpha, sigma }: DiscreteProcess, time: number): number {
  const last = alpha.length - 1;
  const low = Math.min(Math.max(Math.floor(time), 0), last);
  const high = Math.min(low + 1, last);
  const weight = Math.min(Math.max(time - low, 0), 1);
  const a = sigma[low]! / alpha[low]!;
  if (weight === 0) return a;
  return a + weight * (sigma[high]! / alpha[high]! - a);
}

/** The level at a whole time index; undefined where the process has none. */
export function processLevel({ alpha, sigma }: DiscreteProcess, time: number): NoiseLevel | undefined {
  return time in alpha ? { alpha: alpha[time]!, sigma: sigma[time]!, time } : undefined;
}
