import { InvalidArgumentError } from '@mezzotint/core';

/**
 * 1, 1 - 1/n, ..., 1/n, 0: evenly to the clean end. FLUX.
 *
 * @param steps n
 */
export function uniformFlowSigmas(steps: number): Float64Array {
  checkSteps('uniformFlowSigmas', steps);
  return Float64Array.from({ length: steps + 1 }, (_, i) => (steps - i) / steps);
}

/** How a flow schedule that ends on the training grid is made. */
export interface GridFlowOptions {
  /** Length T of the training grid; 1000. */
  readonly total?: number;
  /**
   * Shift of the last level before 0. With the shift of the schedule here too, and `shiftFlow` after, the last level
   * is shifted twice, as the reference code of SD3 and FlowMatchEuler of diffusers do; with 1 it is shifted once.
   */
  readonly endShift?: number;
}

/** n levels evenly from 1 to 1/T (or that shifted), then 0. SD3; FlowMatchEulerDiscreteScheduler. */
export function gridFlowSigmas(steps: number, { total = 1000, endShift = 1 }: GridFlowOptions = {}): Float64Array {
  checkSteps('gridFlowSigmas', steps);
  const end = shifted(1 / total, endShift);
  return Float64Array.from({ length: steps + 1 }, (_, i) => {
    if (i === steps) return 0;
    return steps === 1 ? 1 : 1 + ((end - 1) * i) / (steps - 1);
  });
}

/** n levels of n + 1 evenly from 1 to 1/T, the last left out, then 0. use_flow_sigmas of UniPC in diffusers. */
export function openFlowSigmas(steps: number, { total = 1000 }: { readonly total?: number } = {}): Float64Array {
  checkSteps('openFlowSigmas', steps);
  return Float64Array.from({ length: steps + 1 }, (_, i) => (i === steps ? 0 : 1 + ((1 / total - 1) * i) / steps));
}

/** Evenly from 1 - 1/T to 0: a flow chain that never has pure noise. use_flow_sigmas of DPM-Solver in diffusers. */
export function insetFlowSigmas(steps: number, { total = 1000 }: { readonly total?: number } = {}): Float64Array {
  checkSteps('insetFlowSigmas', steps);
  return Float64Array.from({ length: steps + 1 }, (_, i) => ((1 - 1 / total) * (steps - i)) / steps);
}

/** sigma' = s sigma / (1 + (s - 1) sigma): more steps at high noise, for larger pictures. SD3 (Esser et al. 2024), eq. 23. */
export function shiftFlow(sigmas: ArrayLike<number>, shift: number): Float64Array {
  if (!(shift > 0)) throw new InvalidArgumentError('shiftFlow', `shift must be positive, got ${shift}`);
  return Float64Array.from(sigmas, (sigma) => shifted(sigma, shift));
}

/** The shift by e^mu: sigma' = e^mu / (e^mu + 1/sigma - 1). FLUX calls it the exponential time shift. */
export function shiftFlowByMu(sigmas: ArrayLike<number>, mu: number): Float64Array {
  return shiftFlow(sigmas, Math.exp(mu));
}

/** The shift by mu itself: sigma' = mu / (mu + 1/sigma - 1); the linear time shift of diffusers. */
export function shiftFlowLinearly(sigmas: ArrayLike<number>, mu: number): Float64Array {
  return shiftFlow(sigmas, mu);
}

/** How mu grows with the number of image tokens. */
export interface FluxMuOptions {
  readonly baseTokens?: number;
  readonly maxTokens?: number;
  readonly baseMu?: number;
  readonly maxMu?: number;
}

/** FLUX's mu: on the line through (256 tokens, 0.5) and (4096 tokens, 1.15); a token is 16 x 16 pixels. */
export function fluxMu(
  tokens: number,
  { baseTokens = 256, maxTokens = 4096, baseMu = 0.5, maxMu = 1.15 }: FluxMuOptions = {},
): number {
  return baseMu + ((tokens - baseTokens) * (maxMu - baseMu)) / (maxTokens - baseTokens);
}

/** The shift that gives `pixels` the same uncertainty as `basePixels`: sqrt(pixels / base). SD3, section 5.3.2. */
export function resolutionShift(pixels: number, basePixels: number): number {
  return Math.sqrt(pixels / basePixels);
}

/**
 * Stretches 1 - sigma so that the last level before 0 becomes `terminal`. LTX-Video; shift_terminal of diffusers.
 *
 * @param sigmas falling, the last 0
 */
export function stretchFlow(sigmas: ArrayLike<number>, terminal: number): Float64Array {
  const last = sigmas[sigmas.length - 2];
  if (last === undefined || sigmas[sigmas.length - 1] !== 0 || !(terminal > 0 && terminal < 1) || last >= 1) {
    throw new InvalidArgumentError(
      'stretchFlow',
      `expected two or more levels that end in 0 and a terminal in (0, 1), got ${sigmas.length} levels and ${terminal}`,
    );
  }
  const scale = (1 - terminal) / (1 - last);
  return Float64Array.from(sigmas, (sigma, i) => (i === sigmas.length - 1 ? 0 : 1 - (1 - sigma) * scale));
}

function shifted(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

function checkSteps(who: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new InvalidArgumentError(who, `steps must be an integer of at least 1, got ${steps}`);
  }
}
