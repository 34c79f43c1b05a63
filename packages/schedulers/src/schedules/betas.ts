import { InvalidArgumentError } from '@mezzotint/core';

/** How many steps the forward process has and how much noise its first and last step add. */
export interface BetaRange {
  /** Number of steps T; 1000. */
  readonly count?: number;
  /** Variance of the first step. */
  readonly start?: number;
  /** Variance of the last step. */
  readonly end?: number;
}

/**
 * beta_t on a straight line: 1e-4 to 0.02 over 1000 steps. DDPM (Ho et al. 2020), section 4; ADM, DiT.
 *
 * @throws InvalidArgumentError when the range is not 0 < start <= end < 1
 */
export function linearBetas(range: BetaRange = {}): Float64Array {
  const { count, start, end } = checked('linearBetas', { count: 1000, start: 1e-4, end: 0.02, ...range });
  return ramp(count, start, end);
}

/**
 * sqrt(beta_t) on a straight line: 0.00085 to 0.012 over 1000 steps. Latent diffusion (Rombach et al. 2022); Stable
 * Diffusion 1.x, 2.x, XL.
 *
 * @throws InvalidArgumentError when the range is not 0 < start <= end < 1
 */
export function scaledLinearBetas(range: BetaRange = {}): Float64Array {
  const { count, start, end } = checked('scaledLinearBetas', { count: 1000, start: 0.00085, end: 0.012, ...range });
  return ramp(count, Math.sqrt(start), Math.sqrt(end)).map((root) => root * root);
}

/**
 * A logistic curve between two variances: beta_t = start + (end - start) / (1 + exp(-u_t)), u_t from -6 to 6. GeoDiff
 * (Xu et al. 2022).
 *
 * @throws InvalidArgumentError when the range is not 0 < start <= end < 1
 */
export function sigmoidBetas(range: BetaRange = {}): Float64Array {
  const { count, start, end } = checked('sigmoidBetas', { count: 1000, start: 1e-4, end: 0.02, ...range });
  return ramp(count, -6, 6).map((u) => start + (end - start) / (1 + Math.exp(-u)));
}

/**
 * Squared cosine: bar alpha(u) = cos^2((u + 0.008) / 1.008 pi/2), u = t / T, each beta at most 0.999. Improved DDPM
 * (Nichol & Dhariwal 2021), eq. 17.
 *
 * @param count number of steps T
 */
export function cosineBetas(count = 1000): Float64Array {
  return betasOf('cosineBetas', count, (u) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2);
}

/**
 * log-SNR distributed as Laplace(0, 1/2): log snr(u) = -sign(1/2 - u)/2 log(1 - 2|1/2 - u| + 1e-6). Hang et al. 2024.
 *
 * The form of diffusers, where the function called bar alpha is sqrt(snr / (1 + snr)).
 *
 * @param count number of steps T
 */
export function laplaceBetas(count = 1000): Float64Array {
  return betasOf('laplaceBetas', count, (u) => {
    const side = 0.5 - u >= 0 ? 1 : -1;
    const snr = Math.exp(-0.5 * side * Math.log(1 - 2 * Math.abs(0.5 - u) + 1e-6));
    return Math.sqrt(snr / (1 + snr));
  });
}

/**
 * The betas whose products 1 - beta follow a curve: beta_t = min(1 - bar alpha((t+1)/T) / bar alpha(t/T), limit).
 *
 * @param count number of steps T
 * @param alphaBar the curve on [0, 1], falling from near 1
 * @param limit largest beta, so that the forward process does not end in one jump
 */
export function curveBetas(count: number, alphaBar: (u: number) => number, limit = 0.999): Float64Array {
  return betasOf('curveBetas', count, alphaBar, limit);
}

/**
 * Moves sqrt(bar alpha) so that the last step has no signal left and the first keeps its value. "Common Diffusion Noise
 * Schedules and Sample Steps are Flawed" (Lin et al. 2023), algorithm 1. The last beta becomes 1; networks that
 * predict eps say nothing there, so use v or x0.
 */
export function zeroTerminalSnr(betas: Float64Array): Float64Array {
  let product = 1;
  const root = betas.map((beta) => {
    product *= 1 - beta;
    return Math.sqrt(product);
  });
  const first = root[0]!;
  const last = root[root.length - 1]!;
  const alphaBar = root.map((r) => (((r - last) * first) / (first - last)) ** 2);
  return alphaBar.map((a, t) => 1 - (t === 0 ? a : a / alphaBar[t - 1]!));
}

function betasOf(who: string, count: number, alphaBar: (u: number) => number, limit = 0.999): Float64Array {
  checkCount(who, count);
  return Float64Array.from({ length: count }, (_, t) =>
    Math.min(1 - alphaBar((t + 1) / count) / alphaBar(t / count), limit),
  );
}

function ramp(count: number, from: number, to: number): Float64Array {
  return Float64Array.from({ length: count }, (_, t) => from + ((to - from) * t) / (count - 1));
}

function checkCount(who: string, count: number): void {
  if (!Number.isInteger(count) || count < 2) {
    throw new InvalidArgumentError(who, `count must be an integer of at least 2, got ${count}`);
  }
}

function checked(who: string, range: Required<BetaRange>): Required<BetaRange> {
  checkCount(who, range.count);
  if (!(0 < range.start && range.start <= range.end && range.end < 1)) {
    throw new InvalidArgumentError(who, `expected 0 < start <= end < 1, got start ${range.start}, end ${range.end}`);
  }
  return range;
}
