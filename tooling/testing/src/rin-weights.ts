import { type HostTensor, NumpyRandomState, sizeOf } from '@mezzotint/core';

/** What the origin.json of a RIN golden says of its weights. */
export interface RinOrigin {
  readonly seed: number;
  /** Keys and shapes in the order in which the reference's weights were drawn. */
  readonly variables: ReadonlyArray<readonly [string, readonly number[]]>;
}

/** The weights of a RIN golden, drawn again as its origin.json says; tooling/golden/scripts/rin.py checked the rule. */
export function rinWeights({ seed, variables }: RinOrigin): Record<string, HostTensor> {
  const rng = new NumpyRandomState(seed);
  return Object.fromEntries(
    variables.map(([key, shape]) => {
      const n = rng.randn(sizeOf(shape));
      return [key, { shape, data: Float32Array.from(n, scale(key, shape)) }];
    }),
  );
}

function scale(key: string, shape: readonly number[]): (n: number) => number {
  if (key.endsWith('gamma')) return (n) => (key.includes('prev_ln') ? 0.6 : 1) + 0.1 * n;
  if (key.includes('pos_emb')) return (n) => 0.5 * n;
  if (!key.endsWith('kernel')) return (n) => 0.1 * n;
  const summed = key.includes('_output_dense') || shape.length === 4 ? shape.slice(0, -1) : shape.slice(0, 1);
  return (n) => (0.8 * n) / Math.sqrt(sizeOf(summed));
}
