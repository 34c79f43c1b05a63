import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import { type Denoiser, MezzotintError } from '@mezzotint/core';
import { ddpm, euler, levelAt, type Solver, traceEnd } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  assertConforms,
  certifyGuidance,
  certifySolver,
  checkResumes,
  checkSame,
  claimsOf,
  formatReport,
  type Integrate,
  noNoise,
  type Report,
  type SolverClaims,
} from '../src/index.js';

beforeAll(() => tf.setBackend('cpu'));

const failed = (report: Report) => report.checks.filter(({ passed }) => !passed).map(({ name }) => name);
const integrateEuler = claimsOf(euler()).integrate;
const claims = (integrate: Integrate, more: Partial<SolverClaims> = {}): SolverClaims => ({
  name: 'wrong',
  integrate,
  kinds: ['ve'],
  order: 1,
  ...more,
});

describe('a wrong solver is rejected, for what is wrong with it', () => {
  test('an order that it does not have', async () => {
    const report = await certifySolver(claims(integrateEuler, { order: 2 }));
    expect(failed(report)).toEqual(['ve: order of convergence']);
    expect(report.checks.find(({ name }) => name === 've: order of convergence')!.found).toBeCloseTo(1, 1);
  });

  test('a step that is 1 % too long', async () => {
    const report = await certifySolver(
      claims((model, x, table) => {
        let y = x;
        for (let i = 0; i + 1 < table.sigma.length; i++) {
          const d = model(y, levelAt(table, i));
          const share = 1 - 1.01 * (1 - table.sigma[i + 1]! / table.sigma[i]!);
          y = y.map((v, k) => d[k]! + share * (v - d[k]!));
        }
        return y;
      }),
    );
    expect(failed(report)).toContain('ve: order of convergence');
    expect(failed(report)).toContain('ve: data that is one point is reached');
  });

  test('one that writes into the array it was given', async () => {
    const report = await certifySolver(
      claims((model, x, table, noise) => {
        const end = integrateEuler(model, x, table, noise) as Float64Array;
        x.fill(0);
        return end;
      }),
    );
    expect(failed(report)).toEqual(['ve: the given x is left as it was']);
  });

  test('one that remembers another run', async () => {
    let runs = 0;
    const report = await certifySolver(
      claims((model, x, table, noise) => {
        const end = integrateEuler(model, x, table, noise) as Float64Array;
        runs++;
        return runs % 2 ? end : end.map((v) => v * (1 + 1e-15));
      }),
    );
    expect(failed(report)).toContain('ve: the same run gives the same bits');
  });

  test('noise that is 5 % too weak, that is asked for and not declared, that is declared and not asked for', async () => {
    const weak: Integrate = (model, x, table, noise) =>
      traceEnd(ddpm(), model, x, table as Parameters<typeof traceEnd<'ve'>>[3], {
        noise: { ...noise, draw: (...given) => noise.draw(...given).map((z) => 0.95 * z) },
      });
    const stochastic = { stochastic: true, order: undefined };
    expect(failed(await certifySolver(claims(weak, stochastic)))).toEqual([
      've: error of the marginal variance, 384 steps',
      've: the same over that of 96 steps',
    ]);
    const right = claimsOf(ddpm()).integrate;
    expect(failed(await certifySolver(claims(right, { order: undefined })))).toEqual(['ve: noise']);
    expect(failed(await certifySolver(claims(integrateEuler, stochastic)))).toContain('ve: noise');
  });

  test('numbers that are not finite', async () => {
    const report = await certifySolver(claims((_, x) => x.map(() => Number.NaN)));
    expect(failed(report)).toContain('ve: the numbers are finite');
    expect(failed(report)).toContain('ve: order of convergence');
    expect(failed(report)).toContain('ve: data that is one point is reached');
  });

  test('a law that does not hold', async () => {
    const check = await checkSame('DDPM is Euler', claimsOf(ddpm()).integrate, integrateEuler);
    expect(check.passed).toBe(false);
    expect(check.found).toBeGreaterThan(0.1);
  });

  test('a state outside of the state', async () => {
    const create = (): Solver<'ve', 'estimate'> => {
      const plain = euler();
      let steps = 0;
      return {
        ...plain,
        kinds: ['ve'],
        step(i, state, means) {
          steps++;
          const advance = plain.step(i, state, means);
          return steps > 3 ? { ...advance, x: means.space.combine([1.01, advance.x]) } : advance;
        },
      };
    };
    expect((await checkResumes(create, 've')).passed).toBe(false);
  });
});

describe('wrong guidance is rejected, for what is wrong with it', () => {
  const certify = (guide: (d: Denoiser<number>) => Denoiser<number>, more: object = {}) =>
    failed(certifyGuidance<number>({ name: 'wrong', cond: 1, guide, ...more })).map((name) =>
      name.replace(/ at alpha .*/, ''),
    );

  test('the model itself is right', () => {
    expect(certify((d) => d, { neutral: (d: Denoiser<number>) => d })).toEqual([]);
  });

  test('x given back', () => {
    expect(certify(() => (x) => x)).toContain('a new tensor');
  });

  test('x disposed', () => {
    // Only the first level is reached: afterwards x is gone.
    expect(() =>
      certify((d) => (x, at, cond) => {
        const answer = d(x, at, cond);
        x.dispose();
        return answer;
      }),
    ).toThrow();
  });

  test('a tensor left behind', () => {
    const found = certify((d) => (x, at, cond) => {
      tf.keep(tf.zeros([1]));
      return d(x, at, cond);
    });
    expect(found).toContain('tensors left');
    expect(found).toContain('tensors leaked after a second call');
  });

  test('a model answer not freed', () => {
    const found = certify(
      (d) => (x, at, cond) =>
        tf.add(
          d(x, at, cond),
          tf.tidy(() => tf.sub(d(x, at, 0), d(x, at, 0))),
        ),
    );
    expect(found).toContain('tensors left');
  });

  test('images of a batch mixed', () => {
    const found = certify(
      (d) => (x, at, cond) =>
        tf.tidy(() => {
          const answer = d(x, at, cond);
          return tf.sub(answer, tf.mul(tf.mean(answer, 0, true), 0.1)) as tf.Tensor4D;
        }),
    );
    expect(new Set(found)).toEqual(new Set(['an image alone and in a batch', 'kept where all passes agree']));
  });

  test('an estimate that changes though all passes agree, and one that is not the model at no strength', () => {
    const scaled =
      (d: Denoiser<number>): Denoiser<number> =>
      (x, at, cond) =>
        tf.tidy(() => tf.mul<tf.Tensor4D>(d(x, at, cond), 1.001));
    expect(new Set(certify(scaled, { neutral: scaled }))).toEqual(
      new Set(['kept where all passes agree', 'nothing at no strength']),
    );
  });

  test('another shape, other bits, a swallowed error', () => {
    expect(
      certify((d) => (x, at, cond) => tf.tidy(() => tf.slice(d(x, at, cond), [0, 0, 0, 0], [-1, -1, -1, 1]))),
    ).toContain('shape');
    let calls = 0;
    expect(
      certify((d) => (x, at, cond) => {
        calls++;
        return tf.tidy(() => tf.mul<tf.Tensor4D>(d(x, at, cond), 1 + calls * 1e-6));
      }),
    ).toContain('the same call gives the same bits');
    const found = certify((d) => (x, at, cond) => {
      try {
        return d(x, at, cond);
      } catch {
        return tf.clone(x);
      }
    });
    expect(found).toEqual(["the model's error comes through", 'tensors left after an error']);
  });
});

test('a report is plain data, and its text says everything', async () => {
  const report = await certifySolver(claims(integrateEuler, { order: 2 }));
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  expect(formatReport(report)).toMatch(
    /^wrong does not conform\n[\s\S]*FAIL ve: order of convergence: 0\.99\d+ \(at least 1.75\)/,
  );
  let thrown: unknown;
  try {
    assertConforms(report);
  } catch (error) {
    thrown = error;
  }
  expect(MezzotintError.isInstance(thrown)).toBe(true);
  expect(thrown).toMatchObject({ code: 'MEZZOTINT_NOT_CONFORMING', message: formatReport(report), facts: { report } });
  assertConforms({ ...report, passed: true });
  expect(noNoise().draw([2], 1, 0)).toEqual(new Float32Array(2));
});
