/**
 * Box-Muller in float32, step for step as PyTorch's vectorised CPU kernel does it (`normal_fill`, AVX2 with FMA): the
 * logarithm, sine and cosine are Cephes' single-precision polynomials (Moshier 1984-1989), every operation rounds to float32, and a multiplication that
 * feeds an addition is fused. A fused step is `fround(a * b + c)`: the product of two float32 is exact in float64.
 */
const f = Math.fround;

const TWO_PI = f(2 * Math.PI);
const SQRT_HALF = f(Math.SQRT1_2);

// log: polynomial of degree 8 on [sqrt(1/2) - 1, sqrt(2) - 1], and ln 2 in two parts.
const L0 = f(7.0376836292e-2);
const L1 = f(-1.151461031e-1);
const L2 = f(1.167699874e-1);
const L3 = f(-1.2420140846e-1);
const L4 = f(1.4249322787e-1);
const L5 = f(-1.6668057665e-1);
const L6 = f(2.0000714765e-1);
const L7 = f(-2.4999993993e-1);
const L8 = f(3.3333331174e-1);
const LN2_LOW = f(-2.1219444e-4);
const LN2_HIGH = f(0.693359375);

// sine and cosine: pi/4 in three parts, and polynomials of degree 3 in the square on [0, pi/4].
const FOUR_OVER_PI = f(1.27323954473516);
const PI4_A = f(-0.78515625);
const PI4_B = f(-2.418756484985351e-4);
const PI4_C = f(-3.774894977445941e-8);
const S0 = f(-1.9515295891e-4);
const S1 = f(8.3321608736e-3);
const S2 = f(-1.6666654611e-1);
const C0 = f(2.443315711809948e-5);
const C1 = f(-1.388731625493765e-3);
const C2 = f(4.166664568298827e-2);

/** SQRT_HALF as a fraction of 2^31. */
const SQRT_HALF_BITS = SQRT_HALF * 2 ** 31;
/** 2^(zeros - 32): moves an integer with so many leading zeros to [1/2, 1), and the next entry to [1, 2). */
const SCALE = Float64Array.from({ length: 34 }, (_, zeros) => 2 ** (zeros - 32));
/** Cosine and sine of the reduced angle, so that they can change places without a branch. */
const pair = new Float64Array(2);

/**
 * Turns 16 uniforms of 24 bits at `data[at...]` into 16 normals, in place: element j < 8 gives the radius and element
 * j + 8 the angle of the pair (j, j + 8).
 */
export function boxMuller16(data: Float32Array, at: number): void {
  for (let j = at; j < at + 8; j++) {
    // Radius: sqrt(-2 log(1 - u)). 1 - u is k 2^-24 with an integer k in [1, 2^24].
    const k = 16777216 - data[j]! * 16777216;
    // It is m 2^e with m in [sqrt(1/2), sqrt(2)). Without branches here and below: half of them would be guessed wrong.
    const zeros = Math.clz32(k);
    const small = (((k << zeros) >>> 1) - SQRT_HALF_BITS) >>> 31;
    const m = k * SCALE[zeros + small]! - 1;
    const e = 8 - zeros - small;
    const mm = f(m * m);
    let y = f(L0 * m + L1);
    y = f(y * m + L2);
    y = f(y * m + L3);
    y = f(y * m + L4);
    y = f(y * m + L5);
    y = f(y * m + L6);
    y = f(y * m + L7);
    y = f(y * m + L8);
    y = f(y * m);
    y = f(y * mm + f(e * LN2_LOW));
    y = f(y - mm * 0.5);
    const log = f(e * LN2_HIGH + f(m + y));
    const radius = f(Math.sqrt(-2 * log));

    // Angle: 2 pi u, reduced to [0, pi/4] by the even octant q.
    const theta = f(TWO_PI * data[j + 8]!);
    const q = (f(theta * FOUR_OVER_PI) + 1) & ~1;
    let x = f(q * PI4_A + theta);
    x = f(q * PI4_B + x);
    x = f(q * PI4_C + x);
    const xx = f(x * x);
    let c = f(C0 * xx + C1);
    c = f(c * xx + C2);
    c = f(c * xx);
    c = f(f(c * xx - xx * 0.5) + 1);
    let s = f(S0 * xx + S1);
    s = f(s * xx + S2);
    s = f(s * xx);
    s = f(s * x + x);
    pair[0] = c;
    pair[1] = s;
    const odd = (q >> 1) & 1;
    // + 0 turns -0 into 0, as the mean that the kernel adds does.
    data[j] = radius * (pair[odd]! * (1 - (((q + 2) >> 1) & 2))) + 0;
    data[j + 8] = radius * (pair[1 - odd]! * (1 - ((q >> 1) & 2))) + 0;
  }
}
