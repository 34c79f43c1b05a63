/** Coefficients of prod (u - r_i), constant term first. */
export function productOfRoots(roots: readonly number[]): number[] {
  const poly = [1];
  for (const root of roots) {
    poly.push(0);
    for (let i = poly.length - 1; i >= 0; i--) poly[i] = (poly[i - 1] ?? 0) - root * poly[i]!;
  }
  return poly;
}
