/**
 * Bucket of a key at distance `key - query`: half of the buckets are for keys after the query; in each half, the first
 * half is one bucket a distance, and the rest grow like the logarithm up to `maxDistance`, from which on all distances
 * share the last. Raffel et al. 2020, section 2.1. In float32 like the reference, whose rounding decides at the borders.
 */
export function relativePositionBucket(offset: number, buckets: number, maxDistance: number): number {
  const half = buckets / 2;
  const exact = half / 2;
  const distance = Math.abs(offset);
  const after = offset > 0 ? half : 0;
  if (distance < exact) return after + distance;
  const f = Math.fround;
  const growth = f(f(Math.log(f(distance / exact))) / f(Math.log(maxDistance / exact)));
  return after + Math.min(exact + Math.trunc(f(growth * (half - exact))), half - 1);
}

/** Buckets of all pairs of T positions, row-major: a row a query, a column a key. */
export function relativePositionBuckets(length: number, buckets: number, maxDistance: number): Int32Array {
  // By offset first: T^2 pairs have 2 T - 1 offsets.
  const byOffset = Int32Array.from({ length: 2 * length - 1 }, (_, i) =>
    relativePositionBucket(i - (length - 1), buckets, maxDistance),
  );
  const table = new Int32Array(length * length);
  for (let query = 0; query < length; query++) {
    const start = length - 1 - query;
    table.set(byOffset.subarray(start, start + length), query * length);
  }
  return table;
}
