/** log P(Z <= z) of a standard normal, with full relative precision in the lower tail. */
export function logNormalCdf(z: number): number {
  if (z > 0) return Math.log1p(-Math.exp(logNormalCdf(-z)));
  return logErfc(-z / Math.SQRT2) - Math.LN2;
}

/** log erfc(x) for x >= 0: Maclaurin's series of erf below 2, Laplace's continued fraction above. */
function logErfc(x: number): number {
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return Math.log1p((-2 / Math.sqrt(Math.PI)) * sum);
  }
  let fraction = x;
  for (let n = 120; n >= 1; n--) fraction = x + n / 2 / fraction;
  return -x * x - Math.log(fraction) - Math.log(Math.PI) / 2;
}
