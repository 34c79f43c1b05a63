import { clampTo, limitsOf } from '../clipping.js';
import type { Space } from './space.js';

/** Plain float64 arrays; one picture each. For proofs, toy data and coefficients without TensorFlow.js. */
export const float64Space: Space<Float64Array> = {
  combine(...terms) {
    const used = terms.filter(([c]) => c !== 0);
    const sum = new Float64Array(terms[0]![1].length);
    for (const [c, v] of used) for (let i = 0; i < sum.length; i++) sum[i]! += c * v[i]!;
    return sum;
  },
  multiply: (a, b) => a.map((x, i) => x * b[i]!),
  exp: (v) => v.map(Math.exp),
  fromHost: (values) => Float64Array.from(values),
  limit(v, limit) {
    const { bound, scale } = limitsOf(v, limit);
    return v.map((x) => clampTo(x, bound) / scale);
  },
  meanNorm: (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0)),
  scaledError(v, a, b, absolute, relative) {
    const square = v.reduce((sum, x, i) => {
      const scale = Math.max(absolute, relative * Math.max(Math.abs(a[i]!), Math.abs(b[i]!)));
      return sum + (x / scale) ** 2;
    }, 0);
    return Math.sqrt(square / v.length);
  },
};
