/** A stream of random numbers, float32, in the order of row-major NCHW or of whatever the caller makes of them. */
export interface RandomStream {
  /** Standard normals. */
  randn(n: number): Float32Array;
  /** Uniforms in [0, 1). */
  rand(n: number): Float32Array;
}
