import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  alignYourSteps,
  betaSigmas,
  convertSchedule,
  cosineBetas,
  cosineLogSnr,
  customSchedule,
  describeSchedule,
  discreteProcess,
  discreteTime,
  flowSchedule,
  fluxMu,
  gridFlowSigmas,
  interpolatedCosineLogSnr,
  interpolateSigmas,
  karrasSigmas,
  leadingTimesteps,
  levelAt,
  linearBetas,
  linspaceTimesteps,
  logSnrSchedule,
  resolutionShift,
  respacedTimesteps,
  scaledLinearBetas,
  scheduleRows,
  shiftedCosineLogSnr,
  shiftFlow,
  shiftFlowByMu,
  sigmaSchedule,
  stretchFlow,
  timestepSchedule,
  trailingTimesteps,
  uniformFlowSigmas,
  zeroTerminalSnr,
} from '../src/index.js';
import misc from './fixtures/misc.json' with { type: 'json' };

describe('chains in float64', () => {
  const chains = {
    linear: linearBetas(),
    scaledLinear: scaledLinearBetas(),
    cosine: cosineBetas(),
    zeroSnr: zeroTerminalSnr(scaledLinearBetas()),
  };
  for (const [name, betas] of Object.entries(chains)) {
    test(name, () => {
      const { alpha, sigma } = discreteProcess(betas);
      [0, 499, 999].forEach((t, i) => {
        const expected = misc.alphaBar[name as keyof typeof chains][i]!;
        // 1000 products in float64.
        expect(Math.abs(alpha[t]! ** 2 - expected)).toBeLessThan(1e-11 * expected + 1e-15);
        expect(alpha[t]! ** 2 + sigma[t]! ** 2).toBeCloseTo(1, 14);
      });
    });
  }

  test('ends of Stable Diffusion', () => {
    const { alpha, sigma } = discreteProcess(scaledLinearBetas());
    expect(sigma[0]! / alpha[0]!).toBeCloseTo(misc.sigmaMinMax[0]!, 12);
    expect(sigma[999]! / alpha[999]!).toBeCloseTo(misc.sigmaMinMax[1]!, 8);
  });
});

describe('respacing of ADM', () => {
  test('published lists', () => {
    const all = [...respacedTimesteps(1000, '250')].reverse();
    expect(all.length).toBe(250);
    expect(all.slice(0, 6)).toEqual(misc.respace250[0]);
    expect(all.slice(-6)).toEqual(misc.respace250[1]);
    expect([...respacedTimesteps(1000, 'ddim25')].reverse()).toEqual(misc.ddim25);
    expect(respacedTimesteps(300, '10,15,20').length).toBe(misc.respaceSections);
  });

  test('what cannot be is refused', () => {
    expect(() => respacedTimesteps(1000, 'ddim333')).toThrow(/no whole stride gives 333/);
    expect(() => respacedTimesteps(10, '6,6')).toThrow(/section 0 has 5 times and cannot give 6/);
    expect(() => respacedTimesteps(1000, 'many')).toThrow(/expected "250"/);
  });
});

describe('clocks of a chain', () => {
  const chain = discreteProcess(scaledLinearBetas());
  const clock = discreteTime(chain);
  test('is the index at every row, and grows between', () => {
    for (const t of [0, 1, 17, 500, 998, 999]) {
      expect(clock({ alpha: chain.alpha[t]!, sigma: chain.sigma[t]! })).toBeCloseTo(t, 6);
    }
    expect(clock({ alpha: 1, sigma: 1000 })).toBe(999);
    expect(clock({ alpha: 1, sigma: 0 })).toBe(0);
    const between = clock({
      alpha: 1,
      sigma: Math.sqrt((chain.sigma[10]! / chain.alpha[10]!) * (chain.sigma[11]! / chain.alpha[11]!)),
    });
    expect(between).toBeCloseTo(10.5, 6);
    expect(discreteTime(chain, { whole: true })({ alpha: 1, sigma: 0.5 }) % 1).toBe(0);
  });

  test('with zero terminal SNR pure noise is the last index', () => {
    const zero = discreteTime(discreteProcess(zeroTerminalSnr(scaledLinearBetas())));
    expect(zero({ alpha: 0, sigma: 1 })).toBe(999);
    expect(zero({ alpha: 1e-4, sigma: 1 })).toBeLessThan(999);
  });
});

describe('flow', () => {
  test('the sigmas of the SD3 reference, shift 3', () => {
    shiftFlow(gridFlowSigmas(10, { endShift: 3 }), 3).forEach((v, i) => {
      expect(Math.abs(v - misc.sd3[i]!)).toBeLessThan(1e-12);
    });
  });

  test('shifts and ends', () => {
    expect(shiftFlowByMu(uniformFlowSigmas(10), fluxMu(4096))[9]).toBeCloseTo(0.2597584, 6); // REFERENCE 6.3
    expect(resolutionShift(1024 * 1024, 256 * 256)).toBe(4);
    const stretched = stretchFlow(uniformFlowSigmas(8), 0.02);
    expect(stretched[7]).toBeCloseTo(0.02, 12);
    expect([stretched[0], stretched[8]]).toEqual([1, 0]);
    // Once or twice shifted last level.
    expect(shiftFlow(gridFlowSigmas(10), 3)[9]).toBeCloseTo(0.002994, 6);
    expect(shiftFlow(gridFlowSigmas(10, { endShift: 3 }), 3)[9]).toBeCloseTo(0.0089286, 6);
  });
});

describe('log-SNR schedules of simple diffusion', () => {
  test('shifted cosine', () => {
    // The published values have no cut to a range.
    const curve = shiftedCosineLogSnr({ size: 256, min: -200, max: 200 });
    [0.25, 0.5, 0.75].forEach((u, i) => {
      expect(curve(u)).toBeCloseTo(misc.shiftedCosine[i]!, 9);
    });
  });

  // denoising-diffusion-pytorch at commit faed4db in float64 has the reversed one; the other is eq. 6 of the paper computed apart.
  test.each([
    [false, [9.454822555520437, -1.4495487011612496, -3.465735902799726, -5.481923104438205, -16.386294361120136]],
    [true, [13.61370563888011, 1.877557765526488, -3.465735902799726, -8.809029571125942, -20.54517744447981]],
  ])('interpolated between two shifts, reversed: %s', (reversed, values) => {
    const curve = interpolatedCosineLogSnr({ size: 512, low: 32, high: 256, reversed });
    [0, 0.1, 0.5, 0.9, 1].forEach((u, i) => {
      expect(curve(u)).toBeCloseTo(values[i]!, 9);
    });
  });

  test('rows of a table', () => {
    const table = logSnrSchedule(cosineLogSnr(), 4);
    expect(table.alpha[0]! ** 2).toBeCloseTo(1 / (1 + Math.exp(20)), 14);
    expect(table.sigma[4]).toBe(0);
    expect(logSnrSchedule(cosineLogSnr(), 4, { final: 'curve' }).sigma[4]! ** 2).toBeCloseTo(
      1 / (1 + Math.exp(20)),
      14,
    );
  });
});

describe('quantiles of the beta distribution', () => {
  test('closed forms', () => {
    // Beta(1, 1) is even; Beta(1/2, 1/2) is the arcsine law.
    const even = betaSigmas({ steps: 5, min: 1, max: 5, alpha: 1, beta: 1 });
    expect([...even].map((v) => Math.round(v * 1e9) / 1e9)).toEqual([5, 4, 3, 2, 1, 0]);
    const arcsine = betaSigmas({ steps: 5, min: 1, max: 2, alpha: 0.5, beta: 0.5 });
    expect(arcsine[1]).toBeCloseTo(1 + Math.sin((0.75 * Math.PI) / 2) ** 2, 10);
  });
});

describe('Align Your Steps', () => {
  test('ten steps are the published ones, others go log-linearly between them', () => {
    const { sigmas } = alignYourSteps['stable-diffusion-1.5'];
    interpolateSigmas(sigmas, 10).forEach((v, i) => {
      expect(v).toBeCloseTo(sigmas[i]!, 12);
    });
    const fine = interpolateSigmas(sigmas, 19);
    expect(fine[1]).toBeCloseTo(Math.sqrt(14.615 * 6.475), 10);
    expect(() => interpolateSigmas([1], 10)).toThrow(InvalidArgumentError);
  });
});

describe('tables', () => {
  const chain = discreteProcess(linearBetas());
  test('say everything that is wrong', () => {
    expect(() =>
      customSchedule('vp', { alpha: Float64Array.of(0.5, 1, 1), sigma: Float64Array.of(0.5, -1, 0) }),
    ).toThrow(/row 0: alpha\^2 \+ sigma\^2 = 1 does not hold.*\n.*row 1: alpha and sigma must be finite/);
    expect(() => customSchedule('ve', { alpha: Float64Array.of(1), sigma: Float64Array.of(1) })).toThrow(
      /at least 2 rows/,
    );
    expect(() =>
      customSchedule('ve', { alpha: Float64Array.of(1, 1), sigma: Float64Array.of(1, 0), time: Float64Array.of(1) }),
    ).toThrow(/time has one for each row/);
    expect(() => flowSchedule([1, 1.5, 0])).toThrow(/row 1/);
    expect(() => karrasSigmas({ steps: 0, min: 1, max: 0.5 })).toThrow(/steps must be.*\n.*expected 0 < min < max/);
    expect(() => linearBetas({ start: 0.5, end: 0.1 })).toThrow(/expected 0 < start <= end < 1/);
    expect(() => leadingTimesteps(1000, 10, { offset: 200 })).toThrow(/offset 200/);
    expect(() => linspaceTimesteps(10, 11)).toThrow(/steps must be an integer from 1 to 10/);
  });

  test('rows, levels and descriptions', () => {
    const table = timestepSchedule(chain, trailingTimesteps(1000, 4));
    expect([...table.time!]).toEqual([999, 749, 499, 249, -1]);
    expect(levelAt(table, 4)).toEqual({ alpha: 1, sigma: 0, time: -1 });
    expect(describeSchedule(table)).toMatchObject({ kind: 'vp', steps: 4, last: { alpha: 1, sigma: 0 }, timed: true });
    expect([...scheduleRows(table, 2).time!]).toEqual([499, 249, -1]);
    expect(timestepSchedule(chain, [500, 250], { final: 'first' }).sigma[2]).toBe(chain.sigma[0]);
  });

  test('turning a table into another kind keeps sigma / alpha', () => {
    const vp = timestepSchedule(chain, trailingTimesteps(1000, 6));
    for (const kind of ['ve', 'flow'] as const) {
      const other = convertSchedule(vp, kind);
      other.sigma.forEach((s, i) => {
        expect(s / other.alpha[i]!).toBeCloseTo(vp.sigma[i]! / vp.alpha[i]!, 10);
      });
      const back = convertSchedule(other, 'vp');
      back.alpha.forEach((a, i) => {
        expect(a).toBeCloseTo(vp.alpha[i]!, 12);
      });
    }
    expect(sigmaSchedule([2, 0]).kind).toBe('ve');
  });
});
