/** The x at which the Beta(a, b) distribution function reaches p; float64 accuracy by bisection. */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  // In the variable s of x = s^2 / (s^2 + (1 - s)^2) both ends keep their digits.
  let low = 0;
  let high = 1;
  for (let i = 0; i < 200 && high - low > 1e-17; i++) {
    const s = (low + high) / 2;
    const y = 1 - s;
    const norm = s * s + y * y;
    if (betaDistribution((s * s) / norm, (y * y) / norm, a, b) < p) low = s;
    else high = s;
  }
  const s = (low + high) / 2;
  return (s * s) / (s * s + (1 - s) ** 2);
}

/** I_x(a, b), the regularised incomplete beta function, with y = 1 - x given so that no digits are lost. */
function betaDistribution(x: number, y: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaDistribution(y, x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log(y) - logBeta(a, b)) / a;
  return front / continuedFraction(x, a, b);
}

/** The continued fraction of I_x(a, b), evaluated from the tail. DLMF 8.17.22. */
function continuedFraction(x: number, a: number, b: number): number {
  let value = 1;
  for (let k = 120; k >= 1; k--) {
    const m = Math.floor(k / 2);
    const d =
      k % 2 === 0
        ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
        : (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    value = 1 + d / value;
  }
  return value;
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** log Gamma by Stirling's series after moving the argument past 12. DLMF 5.11.1. */
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  while (z < 12) {
    shift += Math.log(z);
    z += 1;
  }
  const w = 1 / (z * z);
  const series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z;
  return (z - 0.5) * Math.log(z) - z + Math.log(2 * Math.PI) / 2 + series - shift;
}
