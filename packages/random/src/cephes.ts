/*
 * Coefficients of Cephes' single-precision logarithm, sine and cosine (Moshier 1984-1989), as float32.
 */
const f = Math.fround;

export const TWO_PI = f(2 * Math.PI);
export const SQRT_HALF = f(Math.SQRT1_2);

/** log(1 + m) - m + m^2 / 2 over m^3, on [sqrt(1/2) - 1, sqrt(2) - 1], from the highest power. */
export const LOG = [
  f(7.0376836292e-2),
  f(-1.151461031e-1),
  f(1.167699874e-1),
  f(-1.2420140846e-1),
  f(1.4249322787e-1),
  f(-1.6668057665e-1),
  f(2.0000714765e-1),
  f(-2.4999993993e-1),
  f(3.3333331174e-1),
] as const;
/** ln 2 in two parts, the high one with few bits. */
export const LN2_HIGH = f(0.693359375);
export const LN2_LOW = f(-2.1219444e-4);

export const FOUR_OVER_PI = f(1.27323954473516);
/** -pi/4 in three parts. */
export const MINUS_PI_4 = [f(-0.78515625), f(-2.418756484985351e-4), f(-3.774894977445941e-8)] as const;
/** (sin x - x) / x^3 and (cos x - 1 + x^2 / 2) / x^4 in powers of x^2 on [0, pi/4], from the highest. */
export const SIN = [f(-1.9515295891e-4), f(8.3321608736e-3), f(-1.6666654611e-1)] as const;
export const COS = [f(2.443315711809948e-5), f(-1.388731625493765e-3), f(4.166664568298827e-2)] as const;
