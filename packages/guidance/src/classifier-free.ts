import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { combineFirstChannels } from './first-channels.js';
import { combineRescaled } from './rescale.js';
import { type Scale, scaleAt } from './scale.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/**
 * Where the scaled difference is added. `unconditional`: u + s (c - u), so s = 1 is the conditional model (Imagen,
 * diffusers' default). `conditional`: c + s (c - u), so s = 0 is the conditional model (the paper's w, diffusers'
 * "original formulation").
 */
export type Formulation = 'unconditional' | 'conditional';

/** Strength of a guidance in one of the two formulations. */
export interface ScaleOptions {
  /** Guidance scale; with `from: 'unconditional'` 1 is the conditional model as it is, more sharpens. */
  readonly scale: Scale;
  /** The formulation; 'unconditional', in which the lecture's and the paper's w is scale - 1. */
  readonly from?: Formulation | undefined;
}

/** Settings of classifier-free guidance. */
export interface ClassifierFreeOptions<C> extends TwoPassOptions<C>, ScaleOptions, PredictionOption {
  /** Share in which the deviation of each image is brought back to the conditional one; 0. See `combineRescaled`. */
  readonly rescale?: number | undefined;
  /** How many channels are guided, the first ones; all. DiT's code guides 3 of 4. See `combineFirstChannels`. */
  readonly channels?: number | undefined;
}

/** u + s (c - u), or c + s (c - u). Ho & Salimans 2022 (arXiv 2207.12598), eq. 6. */
export function combineClassifierFree({ scale, from = 'unconditional' }: ScaleOptions): Combination {
  return (c, u, at) =>
    tf.tidy(() => tf.add(from === 'unconditional' ? u : c, tf.mul(tf.sub(c, u), scaleAt(scale, at))));
}

/**
 * Classifier-free guidance: D = D(uncond) + scale (D(cond) - D(uncond)). Ho & Salimans 2022, eq. 6, on x0 estimates (the
 * same combination as on eps, since x0 is affine in eps at a fixed x). A negative prompt is an `unconditional`.
 *
 * @returns a denoiser of x `[N, H, W, C]`; where the scale leaves the conditional model, one pass is run
 */
export function classifierFree<C>(denoiser: Denoiser<C>, options: ClassifierFreeOptions<NoInfer<C>>): Denoiser<C> {
  return guided(denoiser, finishedCombination(combineClassifierFree(options), options), options, isNeutral(options));
}

/** A combination whose result is rescaled, and holds for the first channels only, where that is asked for. */
export function finishedCombination(
  combine: Combination,
  { rescale = 0, channels }: { readonly rescale?: number | undefined; readonly channels?: number | undefined },
): Combination {
  const rescaled = rescale === 0 ? combine : combineRescaled(combine, rescale);
  return channels === undefined ? rescaled : combineFirstChannels(rescaled, channels);
}

/**
 * Classifier-free guidance in one pass over a batch of twice the size: `[conditional; unconditional]`.
 *
 * @param options join puts two conditions one after the other along the batch
 */
export function classifierFreeBatched<C>(
  denoiser: Denoiser<C>,
  options: ClassifierFreeOptions<NoInfer<C>> & {
    readonly join: (cond: NoInfer<C>, unconditional: NoInfer<C>) => NoInfer<C>;
  },
): Denoiser<C> {
  return classifierFree(denoiser, options);
}

/** Tells the levels at which the scale leaves the conditional prediction as it is. */
export function isNeutral({ scale, from = 'unconditional' }: ScaleOptions): (at: NoiseLevel) => boolean {
  const neutral = from === 'unconditional' ? 1 : 0;
  return (at) => scaleAt(scale, at) === neutral;
}
