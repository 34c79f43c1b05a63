/** JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * Where a stochastic solver's noise comes from. A draw belongs to the way from one noise level to another, so that a
 * Brownian path can answer the same for the same way whatever the number of steps.
 */
export interface NoiseSource {
  /**
   * Standard normals for images of `shape` `[N, H, W, C]`, in row-major NHWC order.
   *
   * @param from noise-to-signal ratio sigma / alpha where the step starts
   * @param to the ratio where it ends
   */
  draw(shape: readonly number[], from: number, to: number): Float32Array;
  /** Where the source stands; undefined when it has no state. */
  save(): Json;
  /** Goes back to where it stood. */
  restore(state: Json): void;
}
