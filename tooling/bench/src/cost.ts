/** Side of the square matrices whose product shows what the machine can do in float32. */
export const matmulSize = 2048;

/**
 * Floating-point operations of a job: two for each multiply-add; a training step multiplies three times, forward, for
 * the inputs' gradient and for the weights'.
 */
export function operations(job: string, macs: number): number {
  if (job === 'matmul') return 2 * matmulSize ** 3;
  return (job === 'train' ? 6 : 2) * macs;
}
