import { describe, expect, test } from 'vitest';
import {
  brownianNoise,
  consistency,
  cosineLogSnr,
  ddim,
  ddpm,
  ddpmInterpolated,
  ddpmLarge,
  dpm2Ancestral,
  dpmpp2sAncestral,
  dpmppSde,
  dpmppSdeSinglestep,
  dpmSolverSde,
  edmStochastic,
  eulerAncestral,
  exponentialSigmas,
  levelOf,
  logSnrSchedule,
  type NoiseSchedule,
  type NoiseSource,
  pcVe,
  pcVp,
  ratioSchedule,
  restart,
  type ScheduleKind,
  type Solver,
  saSolver,
  traceEnd,
} from '../src/index.js';
import { gaussian } from './gaussian.js';

type Plain = Solver<ScheduleKind, 'estimate'>;
const DATA = 0.25;

/** Element 0 gets no noise; element k only draw k, which is 1. */
function impulses(): NoiseSource & { count: number } {
  let k = 0;
  return {
    draw(shape) {
      const z = new Float32Array(shape[0]!);
      z[++k] = 1;
      return z;
    },
    save: () => k,
    restore: () => {},
    get count() {
      return k;
    },
  };
}

/**
 * Variance where a run arrives that starts from x with the first level's marginal variance. Data and estimates are linear, so
 * each noise adds the square of what it alone leads to.
 */
function finalVariance(solver: Plain, table: NoiseSchedule): number {
  const first = { alpha: table.alpha[0]!, sigma: table.sigma[0]! };
  const draws = 3 * table.alpha.length;
  const x = new Float64Array(draws);
  x[0] = Math.sqrt(first.alpha ** 2 * DATA + first.sigma ** 2);
  const noise = impulses();
  const end = traceEnd(solver, gaussian, x, table, { noise });
  expect(noise.count).toBeLessThan(draws);
  return end.reduce((sum, v) => sum + v * v, 0);
}

function between(steps: number, kind: ScheduleKind): NoiseSchedule {
  return ratioSchedule(kind, exponentialSigmas({ steps: steps + 1, min: 0.1, max: 80 }).slice(0, -1));
}

describe('stochastic solvers keep the marginal variance', () => {
  const solvers: readonly (readonly [string, Plain, limit: number])[] = [
    // The limit is what is left with 400 steps, by first or second order; a factor wrong by 1 % in the noise would pass 0.02.
    ['ddpm', ddpm(), 0.02],
    ['ddpm-large', ddpmLarge(), 0.05],
    ['ddpm-interpolated', ddpmInterpolated(), 0.03],
    ['ddim, eta 0.5', ddim({ eta: 0.5 }), 0.02],
    ['euler-ancestral', eulerAncestral(), 0.02],
    ['dpm2-ancestral', dpm2Ancestral(), 0.02],
    ['dpmpp-2m-sde', dpmppSde(), 0.002],
    ['dpmpp-3m-sde', dpmppSde({ order: 3 }), 0.002],
    ['dpm-solver-2m-sde', dpmSolverSde(), 0.05],
    ['dpmpp-2s-ancestral', dpmpp2sAncestral(), 0.02],
    ['dpmpp-sde', dpmppSdeSinglestep(), 0.02],
    ['edm-stochastic', edmStochastic({ churn: 30, noise: 1 }), 0.01],
    ['sa-solver', saSolver({ weights: 'exact' }), 0.01],
    // Without their corrector, whose step size is not linear in x; the last step leaves its noise out.
    ['pc-ve', pcVe({ correctorSteps: 0 }), 0.06],
    ['pc-vp', pcVp({ correctorSteps: 0 }), 0.06],
    ['restart', restart([{ min: 0.3, max: 1, repeats: 3, steps: 60 }]), 0.01],
  ];
  for (const [name, solver, limit] of solvers) {
    test(name, () => {
      for (const kind of solver.kinds.filter((k) => k !== 'flow')) {
        const wanted = (steps: number) => {
          const end = { alpha: between(steps, kind).alpha[steps]!, sigma: between(steps, kind).sigma[steps]! };
          return end.alpha ** 2 * DATA + end.sigma ** 2;
        };
        const error = (steps: number) => Math.abs(finalVariance(solver, between(steps, kind)) / wanted(steps) - 1);
        const [coarse, fine] = [error(100), error(400)];
        expect(fine, `${kind}: ${fine} after ${coarse}`).toBeLessThan(limit);
        // It converges: four times the steps leave less than half of the error.
        if (coarse > 1e-4) expect(fine).toBeLessThan(coarse / 2);
      }
    });
  }

  test('consistency: the estimate noised anew has the variance of the estimate plus sigma^2', () => {
    const table = ratioSchedule('ve', [80, 1]);
    const share = DATA / (80 ** 2 + DATA);
    expect(finalVariance(consistency(), table)).toBeCloseTo(share ** 2 * (80 ** 2 + DATA) + 1, 10);
  });
});

describe('algorithm 2 as printed', () => {
  // Written from the algorithm's own symbols, in lambda = log(alpha^2 / sigma^2).
  test('one step', () => {
    const T = 8;
    const v = 0.3;
    const table = logSnrSchedule(cosineLogSnr({ min: -20, max: 20 }), T, { final: 'added' });
    const b = Math.atan(Math.exp(-20 / 2));
    const a = Math.atan(Math.exp(20 / 2)) - b;
    const lambda = Array.from({ length: T }, (_, t) => -2 * Math.log(Math.tan(a * (1 - t / (T - 1)) + b)));
    expect(lambda[0]).toBeCloseTo(-20, 10);
    expect(lambda[T - 1]).toBeCloseTo(20, 10);
    const alphaOf = (l: number) => Math.sqrt(1 / (1 + Math.exp(-l)));
    const sigmaOf = (l: number) => Math.sqrt(1 / (1 + Math.exp(l)));
    const noise: NoiseSource = { draw: () => Float32Array.of(0.5), save: () => null, restore: () => {} };
    let z = 0.7;
    for (let t = 0; t < T; t++) {
      const l = lambda[t]!;
      const x = alphaOf(l) * 0.25 * (z / (sigmaOf(l) ** 2 + alphaOf(l) ** 2 * 0.25));
      if (t === T - 1) {
        z = x;
        break;
      }
      const next = lambda[t + 1]!;
      const e = Math.exp(l - next);
      const mean = e * (alphaOf(next) / alphaOf(l)) * z + (1 - e) * alphaOf(next) * x;
      const small = (1 - e) * sigmaOf(next) ** 2;
      const large = (1 - e) * sigmaOf(l) ** 2;
      z = mean + 0.5 * Math.sqrt(small ** (1 - v) * large ** v);
    }
    const end = traceEnd(ddpmInterpolated({ v }), gaussian, Float64Array.of(0.7), table, { noise })[0]!;
    // float64; the log SNR of 20 leaves sigma^2 = 2e-9 with 7 digits in 1 - alpha^2.
    expect(Math.abs(end - z)).toBeLessThan(1e-7);
  });
});

describe('a Brownian path', () => {
  test('disjoint ways are independent standard normals, and their parts add up', () => {
    const noise = brownianNoise({ seed: 3, min: 0.01, max: 80 });
    const shape = [20000];
    const sigmas = [80, 20, 5, 1, 0.2, 0.03];
    const draws = sigmas.slice(1).map((to, i) => noise.draw(shape, sigmas[i]!, to));
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i]!, 0) / a.length;
    draws.forEach((a, i) => {
      draws.forEach((b, j) => {
        // 20,000 numbers: the mean of products has standard deviation 1/sqrt(20000) = 0.007 (0.01 for squares).
        expect(Math.abs(dot(a, b) - (i === j ? 1 : 0))).toBeLessThan(0.05);
      });
    });
    const whole = noise.draw(shape, 80, 5);
    const parts = draws[0]!.map((z, i) => (z * Math.sqrt(60) + draws[1]![i]! * Math.sqrt(15)) / Math.sqrt(75));
    // The same path, up to the rounding of the places to leaves: 0.1 % of sigma, 0.05 standard deviations each.
    const apart = Math.sqrt(
      dot(
        whole.map((z, i) => z - parts[i]!),
        whole.map((z, i) => z - parts[i]!),
      ),
    );
    expect(apart).toBeLessThan(0.05);
  });

  test('the same whatever was asked before', () => {
    const a = brownianNoise({ seed: 5, min: 0.01, max: 80 });
    const b = brownianNoise({ seed: 5, min: 0.01, max: 80 });
    b.draw([64], 30, 2);
    b.draw([64], 0.5, 0.1);
    expect(a.draw([64], 7, 3)).toEqual(b.draw([64], 7, 3));
    expect(brownianNoise({ seed: 6, min: 0.01, max: 80 }).draw([64], 7, 3)).not.toEqual(a.draw([64], 7, 3));
  });

  test('a picture keeps its character with the number of steps', () => {
    // The same seed at 50 and 100 steps of a stochastic solver: close with one path, unrelated with fresh draws.
    const size = 256;
    const end = (steps: number, noise: NoiseSource) =>
      traceEnd(dpmppSde(), gaussian, new Float64Array(size).fill(80), between(steps, 've'), { noise });
    const distance = (a: Float64Array, b: Float64Array) =>
      Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]!) ** 2, 0) / size);
    const path = () => brownianNoise({ seed: 1, min: 0.1, max: 80 });
    const near = distance(end(50, path()), end(100, path()));
    const far = distance(end(50, path()), end(100, brownianNoise({ seed: 2, min: 0.1, max: 80 })));
    expect(near).toBeLessThan(far / 4);
  });

  test('levels outside the range are held at its ends', () => {
    const noise = brownianNoise({ seed: 1, min: 0.1, max: 10 });
    const { sigma } = levelOf('ve', 100);
    expect(noise.draw([8], sigma, 1)).toEqual(noise.draw([8], 10, 1));
  });
});
