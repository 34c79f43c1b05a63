import type { Denoiser } from '@mezzotint/core';
import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { awayFrom } from './autoguidance.js';
import { hooked, type Layers } from './layers.js';
import type { Scale } from './scale.js';

/** Settings of a guidance away from the network with some layers disturbed. */
export interface LayerGuidanceOptions {
  /** 0 is the network as it is. */
  readonly scale: Scale;
  /** Which layers are disturbed: `layersAt(model, paths)`. */
  readonly layers: Layers;
}

/**
 * Perturbed-attention guidance: D + s (D - D~), D~ with the attention map of the chosen layers replaced by the identity
 * (every token sees itself only: o = v). PAG (Ahn et al. 2024, arXiv 2403.17377).
 *
 * @throws InvalidArgumentError (when called) for a layer that is no self-attention
 */
export function perturbedAttention<C>(denoiser: Denoiser<C>, { scale, layers }: LayerGuidanceOptions): Denoiser<C> {
  const perturbed = hooked('perturbedAttention', denoiser, layers, (has) => ({
    attention(call) {
      if (!has(call.by)) return call.attend();
      const [tokens, sources] = [call.q.shape[2], call.k.shape[2]];
      if (tokens !== sources) {
        throw new InvalidArgumentError(
          'perturbedAttention',
          `a layer attends from ${tokens} tokens to ${sources} others; choose self-attention layers`,
        );
      }
      return tf.clone(call.v);
    },
  }));
  return awayFrom(denoiser, perturbed, scale);
}
