import { activeHooks, type Denoiser, type NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Several guidances at once: D + sum_i (G_i - D), G_i what each of them says. The plain pass D, which all of them start
 * from, is run once. `together(d, [(d) => classifierFree(d, cfg), (d) => perturbedAttention(d, pag)])` is
 * u + s (c - u) + p (c - c~), as in PAG, SEG and SD 3.5's skip-layer guidance.
 */
export function together<C>(
  denoiser: Denoiser<C>,
  guides: readonly ((denoiser: Denoiser<C>) => Denoiser<C>)[],
): Denoiser<C> {
  let plain: { x: tf.Tensor4D; at: NoiseLevel; cond: C; estimate: tf.Tensor4D } | undefined;
  /** Answers from the plain pass where it is asked the same, with no hooks beyond those of the whole. */
  let hooks: ReturnType<typeof activeHooks>;
  const shared: Denoiser<C> = (x, at, cond) =>
    plain && plain.x === x && plain.at === at && plain.cond === cond && activeHooks() === hooks
      ? tf.clone(plain.estimate)
      : denoiser(x, at, cond);
  const guided = guides.map((guide) => guide(shared));
  return (x, at, cond) =>
    tf.tidy(() => {
      const estimate = denoiser(x, at, cond);
      hooks = activeHooks();
      plain = { x, at, cond, estimate };
      try {
        return guided
          .map((guide) => tf.sub(guide(x, at, cond), estimate))
          .reduce<tf.Tensor4D>((sum, change) => tf.add(sum, change), tf.clone(estimate));
      } finally {
        plain = undefined;
      }
    });
}
