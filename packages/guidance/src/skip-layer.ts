import type { Denoiser } from '@mezzotint/core';
import { awayFrom } from './autoguidance.js';
import { hooked } from './layers.js';
import type { LayerGuidanceOptions } from './perturbed-attention.js';

/**
 * Skip-layer guidance: D + s (D - D~), D~ with the chosen layers left out (each passes its input on). Stability's SD 3.5
 * Medium: layers 7, 8, 9, scale 2.5, between 1 % and 20 % of the steps (`scaleInInterval`); spatio-temporal skip
 * guidance (Hyung et al. 2024, arXiv 2411.18664).
 *
 * @throws InvalidArgumentError (when called) for a layer that cannot be left out
 */
export function skipLayer<C>(denoiser: Denoiser<C>, { scale, layers }: LayerGuidanceOptions): Denoiser<C> {
  return awayFrom(
    denoiser,
    hooked('skipLayer', denoiser, layers, (has) => ({ skips: has })),
    scale,
  );
}
