import type * as tf from '@tensorflow/tfjs-core';

/** What is wrong with text tokens `[N, S, contextWidth]` and pooled text `[N, pooledWidth]` for images `[N, ...]`. */
export function textProblems(
  context: tf.Tensor,
  pooled: tf.Tensor,
  x: tf.Tensor,
  { contextWidth, pooledWidth }: { readonly contextWidth: number; readonly pooledWidth: number },
): string[] {
  const n = x.shape[0]!;
  const problems: string[] = [];
  if (context.rank !== 3 || context.shape[0] !== n || context.shape[2] !== contextWidth) {
    problems.push(`context: expected [${n}, S, ${contextWidth}], got [${context.shape}]`);
  }
  if (pooled.rank !== 2 || pooled.shape[0] !== n || pooled.shape[1] !== pooledWidth) {
    problems.push(`pooled: expected [${n}, ${pooledWidth}], got [${pooled.shape}]`);
  }
  return problems;
}
