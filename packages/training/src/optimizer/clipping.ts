import { MezzotintError } from '@mezzotint/core';

/** The factor min(1, max / (norm + 1e-6)) of `torch.nn.utils.clip_grad_norm_`; 1 when there is no maximum. */
export function clippingFactor(norm: number, maxNorm: number | undefined): number {
  return maxNorm === undefined ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}

/** Refuses an update with gradients that hold NaN or infinity. */
export function checkFinite(norm: number, step: number): void {
  if (Number.isFinite(norm)) return;
  throw new MezzotintError(
    'MEZZOTINT_NOT_FINITE',
    `Update ${step}: the gradient norm is ${norm}; nothing was changed. Lower the learning rate, clip the gradients, or go on from an earlier checkpoint.`,
    { step, norm },
  );
}
