import { COS, FOUR_OVER_PI, LN2_HIGH, LN2_LOW, LOG, MINUS_PI_4, SIN, SQRT_HALF, TWO_PI } from './cephes.js';

/**
 * Box-Muller in float32, step for step as PyTorch's vectorised CPU kernel does it (`normal_fill`, AVX2 with FMA): the
 * logarithm, sine and cosine are Cephes' single-precision polynomials (Moshier 1984-1989), every operation rounds to float32, and a multiplication that
 * feeds an addition is fused. A fused step is `fround(a * b + c)`: the product of two float32 is exact in float64.
 */
const f = Math.fround;

const [L0, L1, L2, L3, L4, L5, L6, L7, L8] = LOG;
const [PI4_A, PI4_B, PI4_C] = MINUS_PI_4;
const [S0, S1, S2] = SIN;
const [C0, C1, C2] = COS;
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
