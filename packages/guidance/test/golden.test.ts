import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  adaptiveProjected,
  type Combination,
  combineClassifierFree,
  combineProjected,
  combineRescaled,
  combineTangential,
  combineZeroStar,
  type Formulation,
  projectedMix,
} from '../src/index.js';
import { at, conditional, expectClose, nchw, said, unconditional } from './engine.js';
import golden from './fixtures/guiders.json' with { type: 'json' };

interface Golden {
  readonly sum: number;
  readonly abs_mean: number;
  readonly l2: number;
  readonly vals: Readonly<Record<string, number>>;
}

const scale = 7.5;
const cases = (from: Formulation): Readonly<Record<string, Combination>> => ({
  'CFG 7.5': combineClassifierFree({ scale, from }),
  'CFG 7.5 rescale 0.7': combineRescaled(combineClassifierFree({ scale, from }), 0.7),
  'CFG-Zero* 7.5': combineZeroStar({ scale, from }),
  'APG 7.5 eta1 r15': combineProjected({ scale, from, parallel: 1, norm: 15 }),
  'APG 7.5 eta0 mom-0.5 r5 (2 calls)': (c, u, level) => {
    const guidance = adaptiveProjected({ scale, from, parallel: 0, momentum: -0.5, norm: 5 });
    // The golden is the second call on the same arrays.
    const denoiser = guidance.guide(said, { unconditional: 'u' });
    const first = denoiser(c, level, 'c');
    const second = denoiser(u, level, 'c');
    tf.dispose([first]);
    guidance.dispose();
    return second;
  },
  'TCFG 7.5': combineTangential({ scale, from }),
});

/**
 * The golden file prints float32 results; both sides round each of a few operations to 2^-24, on numbers whose largest
 * are about 15 while some compared ones come from differences of such: 1e-6 of the larger of the value and 1.
 */
function compare(found: number[], wanted: Golden, tolerance = 1e-6): void {
  const close = (value: number, expected: number, scale = 1) =>
    expect(Math.abs(value - expected)).toBeLessThanOrEqual(tolerance * Math.max(scale, Math.abs(expected)));
  close(Math.sqrt(found.reduce((s, v) => s + v * v, 0)), wanted.l2);
  close(found.reduce((s, v) => s + Math.abs(v), 0) / found.length, wanted.abs_mean);
  // A sum of 512 numbers of both signs: its rounding is that of the sum of their sizes.
  close(
    found.reduce((s, v) => s + v, 0),
    wanted.sum,
    512 * wanted.abs_mean,
  );
  for (const [i, value] of Object.entries(wanted.vals)) close(found[Number(i)]!, value);
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('combinations equal diffusers', () => {
    const all = golden.out as unknown as Readonly<Record<string, Golden>>;
    for (const [suffix, from] of [
      ['', 'unconditional'],
      [' original', 'conditional'],
    ] as const) {
      for (const [name, combine] of Object.entries(cases(from))) {
        test(`${name}${suffix}`, () => {
          // The reference takes TCFG's direction from a float32 SVD, whose own error is 1.4e-6 (next test).
          const tolerance = name.startsWith('TCFG') ? 2e-6 : 1e-6;
          tf.tidy(() => compare(nchw(combine(conditional(), unconditional(), at)), all[name + suffix]!, tolerance));
        });
      }
    }

    test('TCFG equals a float64 power iteration closer than the reference does', () => {
      const [c, u] = [nchw(conditional()), nchw(unconditional())];
      const exact = [0, 256].flatMap((from) => {
        const rows = [c, u].map((x) => x.slice(from, from + 256));
        const dot = (a: number[], b: number[]) => a.reduce((s, v, i) => s + v * b[i]!, 0);
        let v = rows[0]!.map((x, i) => x + rows[1]![i]!);
        for (let k = 0; k < 300; k++) {
          const [p, q] = [dot(rows[0]!, v), dot(rows[1]!, v)];
          v = v.map((_, i) => p * rows[0]![i]! + q * rows[1]![i]!);
          const norm = Math.sqrt(dot(v, v));
          v = v.map((x) => x / norm);
        }
        const along = dot(rows[1]!, v);
        return v.map((x, i) => along * x + scale * (rows[0]![i]! - along * x));
      });
      const found = nchw(combineTangential({ scale })(conditional(), unconditional(), at));
      expectClose(found, exact, 1e-6);
      const reference = all['TCFG 7.5']!.vals;
      const off = Object.entries(reference).map(([i, value]) => Math.abs(value / exact[Number(i)]! - 1));
      expect(Math.max(...off)).toBeGreaterThan(1e-6);
    });

    test('APG-mix: its plain part is classifier-free guidance with scale 3.5', () => {
      const mix = projectedMix({ scale: 10, plainScale: 3.5, momentum: -0.5, norm: 10, projectBelow: 0.1 });
      tf.tidy(() => compare(nchw(mix.guide(said, { unconditional: 'u' })(conditional(), at, 'c')), all['APG-mix']!));
      mix.dispose();
    });

    test('every golden result is compared', () => {
      const compared = [...Object.keys(cases('conditional'))].flatMap((name) => [name, `${name} original`]);
      const rest = Object.keys(all).filter((name) => !compared.includes(name));
      // Those the reference could not run (MAG, FDG), and the one above.
      expect(rest.sort()).toEqual(['APG-mix', 'FDG', 'MAG 10 alpha8', 'MAG 10 alpha8 original']);
    });
  });
});
