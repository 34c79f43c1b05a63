import { type Denoiser, type HostTensor, InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { combineClassifierFree, finishedCombination, type ScaleOptions } from './classifier-free.js';
import { along, normPerImage } from './per-image.js';
import { type Scale, scaleAt } from './scale.js';
import { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';

/** How the difference of the two passes is shortened and turned. */
export interface ProjectionOptions extends ScaleOptions {
  /** Weight of the part along the conditional prediction, which oversaturates: 1 keeps it, 0 (default) drops it. */
  readonly parallel?: number | undefined;
  /** Longest difference of an image, as an L2 norm; unlimited when left out or 0, as in the paper's algorithm. */
  readonly norm?: number | undefined;
}

/** Settings of adaptive projected guidance. */
export interface AdaptiveProjectedOptions extends ProjectionOptions, PredictionOption {
  /** Weight of the earlier differences: d_i = c - u + momentum d_(i-1); 0. The paper recommends -0.5. */
  readonly momentum?: number | undefined;
  /** As in classifier-free guidance: 0. */
  readonly rescale?: number | undefined;
  /** As in classifier-free guidance: all. */
  readonly channels?: number | undefined;
}

/** Settings of APG-mix: plain guidance while it is noisy, projected after. */
export interface ProjectedMixOptions extends AdaptiveProjectedOptions {
  /** Scale of the plain classifier-free guidance of the first steps. */
  readonly plainScale: Scale;
  /** Projection starts at noise ratios sigma / alpha of at most this: `intervalOfSteps(table, k, k).high` for step k. */
  readonly projectBelow: number;
}

/** What a guidance with momentum remembers between steps; JSON but for the numbers of `average`. */
export interface SavedMomentum {
  /** The running difference `[N, H, W, C]`; null before the first step. */
  readonly average: HostTensor | null;
}

/**
 * A guidance that remembers. One for each run: `reset` before another one, `save` with the run's own `save`, `restore`
 * before it is resumed, `dispose` at the end.
 */
export interface MomentumGuidance {
  /** Denoiser -> Denoiser. All denoisers of one guidance share the one memory. */
  guide<C>(denoiser: Denoiser<C>, options: TwoPassOptions<NoInfer<C>>): Denoiser<C>;
  /** What is remembered now. */
  save(): Promise<SavedMomentum>;
  /** Goes back to what was saved. */
  restore(saved: SavedMomentum): void;
  /** Forgets, for the next run. */
  reset(): void;
  /** Frees the memory; the same as `reset`. */
  dispose(): void;
}

/**
 * b + s (d_orthogonal + parallel d_parallel), d the difference shortened to at most `norm` and split along c; b is u or
 * c as `from` says. APG (Sadat et al. 2024, arXiv 2410.02416), algorithm 1.
 *
 * @param difference what is projected: c - u, or that with momentum; `[N, H, W, C]`
 */
export function project(
  conditional: tf.Tensor4D,
  unconditional: tf.Tensor4D,
  difference: tf.Tensor4D,
  at: NoiseLevel,
  { scale, from = 'unconditional', parallel = 0, norm }: ProjectionOptions,
): tf.Tensor4D {
  return tf.tidy(() => {
    const limited =
      norm === undefined || norm === 0
        ? difference
        : tf.mul<tf.Tensor4D>(difference, tf.minimum(1, tf.div(norm, tf.maximum(normPerImage(difference), 1e-12))));
    const alongC = along(limited, conditional);
    const update = tf.sub(limited, tf.mul(alongC, 1 - parallel));
    return tf.add(from === 'unconditional' ? unconditional : conditional, tf.mul(update, scaleAt(scale, at)));
  });
}

/** APG without momentum, which remembers nothing: `project` of c - u. */
export function combineProjected(options: ProjectionOptions): Combination {
  return (c, u, at) => tf.tidy(() => project(c, u, tf.sub(c, u), at, options));
}

/** Adaptive projected guidance: guidance at high scales without oversaturation. Sadat et al. 2024, algorithm 1. */
export function adaptiveProjected(options: AdaptiveProjectedOptions): MomentumGuidance {
  return withMomentum(options, (c, u, difference, at) => project(c, u, difference, at, options));
}

/**
 * APG-mix: classifier-free guidance at high noise, where the momentum only gathers, and APG below. HunyuanImage 2.1;
 * diffusers' AdaptiveProjectedMixGuidance.
 */
export function projectedMix({ plainScale, projectBelow, ...options }: ProjectedMixOptions): MomentumGuidance {
  const plain = combineClassifierFree({ scale: plainScale, from: options.from });
  return withMomentum(options, (c, u, difference, at) =>
    at.sigma / at.alpha <= projectBelow ? project(c, u, difference, at, options) : plain(c, u, at),
  );
}

/** Gives a combination the running difference d_i = c - u + momentum d_(i-1). */
function withMomentum(
  { momentum = 0, prediction, ...finish }: AdaptiveProjectedOptions,
  combine: (c: tf.Tensor4D, u: tf.Tensor4D, difference: tf.Tensor4D, at: NoiseLevel) => tf.Tensor4D,
): MomentumGuidance {
  let average: tf.Tensor4D | undefined;
  const replace = (next: tf.Tensor4D | undefined) => {
    const old = average;
    average = next && tf.keep(next); // it outlives the tidy of the step
    old?.dispose();
  };
  const remembering: Combination = (c, u, at) => {
    if (average && String(average.shape) !== String(c.shape)) {
      throw new InvalidArgumentError(
        'adaptiveProjected',
        `remembers images [${average.shape}] of an earlier run, got [${c.shape}]: call reset() before another run`,
      );
    }
    return tf.tidy(() => {
      const now = tf.sub<tf.Tensor4D>(c, u);
      if (momentum === 0) return combine(c, u, now, at);
      const difference = average ? tf.add<tf.Tensor4D>(now, tf.mul(average, momentum)) : now;
      const result = combine(c, u, difference, at);
      replace(tf.clone(difference));
      return result;
    });
  };
  const combination = finishedCombination(remembering, finish);
  return {
    guide: (denoiser, options) => guided(denoiser, combination, { ...options, prediction }),
    async save() {
      if (!average) return { average: null };
      const now = tf.keep(tf.clone(average)); // the next step may replace the average before it is read
      try {
        return { average: { shape: now.shape, data: Float32Array.from(await now.data()) } };
      } finally {
        now.dispose();
      }
    },
    restore({ average: saved }) {
      replace(saved ? tf.tensor4d(saved.data, saved.shape as [number, number, number, number], 'float32') : undefined);
    },
    reset: () => replace(undefined),
    dispose: () => replace(undefined),
  };
}
