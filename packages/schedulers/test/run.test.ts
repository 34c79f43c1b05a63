import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser } from '@mezzotint/core';
import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import {
  brownianNoise,
  clamped,
  convertSchedule,
  ddim,
  ddpm,
  ddpmLearned,
  denoiser,
  discreteProcess,
  discreteTime,
  dpmpp2m,
  edict,
  edictInverse,
  edictStart,
  edmTime,
  epsilon,
  euler,
  eulerAncestral,
  flow,
  flowHeun,
  flowSchedule,
  flowTime,
  heun,
  initialNoise,
  karrasSigmas,
  levelAt,
  type Need,
  type Network,
  type NoiseSchedule,
  type NoiseSource,
  noised,
  perImageNoise,
  repaint,
  run,
  type SavedRun,
  type ScheduleKind,
  type Solver,
  type SolverName,
  type Step,
  sample,
  scaledLinearBetas,
  sigmaSchedule,
  solvers,
  thresholded,
  timestepSchedule,
  torchNoise,
  trailingTimesteps,
  uniformFlowSigmas,
  varianceDenoiser,
  withoutVariance,
} from '../src/index.js';

const chain = discreteProcess(scaledLinearBetas());
const clock = discreteTime(chain);
const vp = timestepSchedule(chain, trailingTimesteps(1000, 7));
const ve = sigmaSchedule(karrasSigmas({ steps: 7, min: 0.02, max: 10 }), edmTime);
const rectified = flowSchedule(uniformFlowSigmas(7));
const shape: [number, number, number, number] = [2, 3, 4, 2];

/** A network that depends on x and on time. */
const network: Network = (x, time) =>
  tf.tidy(() => tf.sin(tf.add<tf.Tensor4D>(x, tf.div(tf.reshape(time, [-1, 1, 1, 1]), 300))));
const learned: Network = (x, time) => tf.tidy(() => tf.concat4d([network(x, time), tf.cos(x)], 3));

function tableFor(kinds: readonly ScheduleKind[]): NoiseSchedule {
  if (kinds.includes('vp')) return vp;
  return kinds.includes('ve') ? ve : rectified;
}

function modelFor(solver: Solver, table: NoiseSchedule): Denoiser {
  const parameterisation = table.kind === 'flow' ? flow : epsilon;
  if (solver.needs === 'variance') return varianceDenoiser(learned, parameterisation, { clock }) as unknown as Denoiser;
  return denoiser(network, parameterisation, { clock });
}

const engines = await testEngines();

describe.each(engines)('on %s, every solver of the registry', (engine) => {
  beforeAll(() => switchTo(engine));

  for (const name of Object.keys(solvers) as SolverName[]) {
    test(`${name}: a saved run goes on to the same bits, nothing leaks, what is given stays`, async () => {
      const solver: Solver<ScheduleKind, Need> = solvers[name].create();
      const table = tableFor(solver.kinds);
      const model = modelFor(solver, table);
      const x = initialNoise(table, shape, torchNoise(1));
      const before = tf.memory().numTensors;

      const whole = await sample(solver, model, x, table, undefined, { noise: torchNoise(2) });
      const saved: SavedRun[] = [];
      let last = 0;
      for await (const step of run(solver, model, x, table, undefined, { noise: torchNoise(2) })) {
        expect(step.x.shape).toEqual(shape);
        expect(step.x0.shape).toEqual(shape);
        expect(step.index).toBe(last++);
        expect(step.evaluations).toBeGreaterThan(step.index);
        if (!step.last) saved.push(JSON.parse(JSON.stringify(await step.save(), numbersOf), reviveNumbers) as SavedRun);
      }
      // Bits: the noise stream, the memory and the numbers are all in the saved run, which survives JSON.
      for (const state of [saved[0]!, saved[saved.length >> 1]!]) {
        const again = await sample(solver, model, state, table, undefined, { noise: torchNoise(99) });
        expect(again.dataSync()).toEqual(whole.dataSync());
        again.dispose();
      }
      expect(whole.dataSync().every(Number.isFinite)).toBe(true);
      whole.dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(x.isDisposed).toBe(false);
      x.dispose();
    });
  }
});

function numbersOf(_key: string, value: unknown): unknown {
  return value instanceof Float32Array ? { float32: Array.from(value) } : value;
}

function reviveNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'float32' in value
    ? Float32Array.from(value.float32 as number[])
    : value;
}

describe.each(engines)('on %s, run', (engine) => {
  beforeAll(() => switchTo(engine));

  const model = denoiser(network, epsilon, { clock });

  test('stops between two steps when aborted, with the reason, and frees what it held', async () => {
    const x = initialNoise(vp, shape, torchNoise(1));
    const before = tf.memory().numTensors;
    const abort = new AbortController();
    let steps = 0;
    const going = (async () => {
      for await (const _ of run(ddim(), model, x, vp, undefined, { signal: abort.signal })) {
        steps++;
        // From a timer: a run gives timers their turn.
        if (steps === 2) setTimeout(() => abort.abort(new Error('enough')), 0);
        if (steps > 2) await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    await expect(going).rejects.toThrow('enough');
    expect(steps).toBeLessThan(5);
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });

  test('leaves no tensors when the caller stops or the model throws', async () => {
    const x = initialNoise(vp, shape, torchNoise(1));
    const before = tf.memory().numTensors;
    for await (const step of run(dpmpp2m(), model, x, vp, undefined)) if (step.index === 3) break;
    expect(tf.memory().numTensors).toBe(before);
    const failing: Denoiser = () => {
      throw new Error('no network');
    };
    await expect(sample(heun(), failing, x, vp, undefined)).rejects.toThrow('no network');
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });

  test('refuses what does not fit, at the door', async () => {
    const x = initialNoise(vp, shape, torchNoise(1));
    let late: Step | undefined;
    const flowTyped: NoiseSchedule = rectified;
    // The kind is only known when it runs.
    await expect(sample(ddpm() as Solver<ScheduleKind, 'estimate'>, model, x, flowTyped, undefined)).rejects.toThrow(
      /ddpm:\n {2}works on vp and ve tables, got a flow table\n {2}draws noise/,
    );
    const wrong = model as unknown as ReturnType<typeof varianceDenoiser>;
    await expect(sample(ddpmLearned(), wrong, x, vp, undefined, { noise: torchNoise(0) })).rejects.toThrow(
      /takes a VarianceDenoiser/,
    );
    const both = varianceDenoiser(learned, epsilon) as unknown as Denoiser;
    await expect(sample(ddim(), both, x, vp, undefined)).rejects.toThrow(/takes a Denoiser/);
    for await (const step of run(ddim(), model, x, vp, undefined)) {
      const saved = await step.save();
      await expect(sample(heun(), model, saved, vp, undefined)).rejects.toThrow(/made by ddim/);
      if (step.last) {
        const short = timestepSchedule(chain, [500]);
        await expect(sample(ddim(), model, saved, short, undefined)).rejects.toThrow(/has done 7 steps.*table has 1/);
      }
      late = step;
    }
    await expect(late!.save()).rejects.toThrow(/save before the next is asked for/);
    const timeless = denoiser(network, epsilon);
    await expect(sample(solvers.dpm2.create(), timeless, x, vp, undefined)).rejects.toThrow(
      /give the denoiser a clock/,
    );
    x.dispose();
    for (const problem of [() => repaint({ known: new Float32Array(2), mask: new Float32Array(3) })]) {
      expect(problem).toThrow(InvalidArgumentError);
    }
  });

  test('a first row of pure noise (a flow in vp form) is refused by name, or sampled', async () => {
    const table = convertSchedule(rectified, 'vp');
    expect(table.alpha[0]).toBe(0);
    const x = initialNoise(table, shape, torchNoise(1));
    const velocity = denoiser(network, flow, { clock: flowTime() });
    const refuse: string[] = [];
    for (const [name, { create, inverse }] of Object.entries(solvers)) {
      const solver: Solver = create();
      if (!solver.kinds.includes('vp') || solver.needs === 'variance' || inverse) continue;
      const ran = sample(solver as Solver<ScheduleKind, 'estimate'>, velocity, x, table, undefined, {
        noise: perImageNoise([1, 2]),
      });
      const end = await ran.catch((error: Error) => error);
      if (end instanceof Error) {
        expect(end.message, name).toMatch(/the first row is pure noise \(alpha 0\)/);
        refuse.push(name);
      } else expect(end.dataSync().every(Number.isFinite), name).toBe(true);
    }
    expect(refuse).toEqual(expect.arrayContaining(['heun', 'dpm2', 'dpmpp-sde']));
    for (const name of ['euler', 'dpmpp-2m', 'unipc-2', 'dpm2-ancestral']) expect(refuse).not.toContain(name);
    expect(solvers['dpm2-ancestral'].create({ eta: 0.5 }).problems(table)).toHaveLength(1);
  });

  test('illegal pairs are compile errors', () => {
    const x = null as unknown as tf.Tensor4D;
    const variance = varianceDenoiser(learned, epsilon);
    const never = () => {
      // @ts-expect-error an ancestral solver of the VP chain on a flow table
      void sample(ddpm(), model, x, rectified, undefined);
      // @ts-expect-error an ancestral Euler on a flow table
      void sample(eulerAncestral(), model, x, rectified, undefined);
      // @ts-expect-error rectified flow's Heun on a VP table
      void sample(flowHeun(), model, x, vp, undefined);
      // @ts-expect-error a plain Denoiser where the variance is needed
      void sample(ddpmLearned(), model, x, vp, undefined);
      // @ts-expect-error a learned variance where it would be lost: withoutVariance says so
      void sample(ddim(), variance, x, vp, undefined);
      void sample(ddim(), withoutVariance(variance), x, vp, undefined);
      void sample(euler(), model, x, rectified, undefined);
    };
    expectTypeOf(never).toBeFunction();
    expectTypeOf(vp).toEqualTypeOf<NoiseSchedule<'vp'>>();
  });

  test('every error is of the common family', () => {
    try {
      sigmaSchedule([1, 2, 0]);
    } catch (error) {
      expect(MezzotintError.isInstance(error)).toBe(true);
    }
    expect(() => sigmaSchedule([1, 2, 0])).toThrow(/row 1: noise must fall, got sigma \/ alpha 2 after 1/);
  });
});

describe.each(engines)('on %s, noise and starts', (engine) => {
  beforeAll(() => switchTo(engine));

  test('the picture of a seed is that of torch.randn([N, C, H, W]), turned to NHWC', () => {
    const x = initialNoise(vp, [1, 4, 4, 2], torchNoise(0), { initNoiseSigma: 1 });
    const turned = tf.tidy(() => tf.transpose(x, [0, 3, 1, 2]).dataSync());
    // REFERENCE 6.8: torch seed 0, randn(16), and sqrt(alpha^2 + sigma^2) = 1.
    [-1.1258398, -1.1523602, -0.2505786, -0.4338788].forEach((e, i) => {
      expect(turned[i]).toBeCloseTo(e, 6);
    });
    x.dispose();
  });

  test('an image of perImageNoise does not depend on its batch', () => {
    const both = perImageNoise([7, 8]).draw([2, 4, 4, 3], 1, 0);
    expect(both.slice(48)).toEqual(perImageNoise([8]).draw([1, 4, 4, 3], 1, 0));
    expect(() => perImageNoise([7]).draw([2, 4, 4, 3], 1, 0)).toThrow(/1 seeds for a batch of 2 images/);
  });

  test('noised moves images to the first level', () => {
    const images = tf.ones<tf.Rank.R4>([1, 2, 2, 1]);
    const zero: NoiseSource = { draw: () => new Float32Array(4), save: () => null, restore: () => {} };
    const x = noised(images, levelAt(ve, 0), zero);
    expect([...x.dataSync()]).toEqual([1, 1, 1, 1]);
    tf.dispose([images, x]);
  });

  test('a Brownian path drives tensors too', async () => {
    const x = initialNoise(vp, shape, torchNoise(1));
    const noise = brownianNoise({ seed: 1, min: 0.02, max: 20 });
    const solver = solvers['dpmpp-sde'].create();
    const y = await sample(solver, denoiser(network, epsilon, { clock }), x, vp, undefined, { noise });
    expect(y.dataSync().every(Number.isFinite)).toBe(true);
    tf.dispose([x, y]);
  });
});

describe.each(engines)('on %s, denoisers', (engine) => {
  beforeAll(() => switchTo(engine));

  const at = { alpha: 0.6, sigma: 0.8, time: 500 };

  test('clamped and thresholded', () => {
    const x = tf.tensor4d([-3, -0.5, 0.25, 2], [1, 2, 2, 1]);
    const same: Denoiser = (y) => tf.clone(y);
    const clip = clamped(same)(x, at, undefined);
    expect([...clip.dataSync()]).toEqual([-1, -0.5, 0.25, 1]);
    // The 2/3 quantile of 0.25, 0.5, 2, 3 is 2: clip to [-2, 2], divide by 2.
    const dynamic = thresholded(same, { quantile: 2 / 3 })(x, at, undefined);
    [-1, -0.25, 0.125, 1].forEach((e, i) => {
      expect(dynamic.dataSync()[i]).toBeCloseTo(e, 6);
    });
    tf.dispose([x, clip, dynamic]);
  });

  test('learned variance is the second half of the channels, from [-1, 1] to [0, 1]', () => {
    const x = tf.zeros<tf.Rank.R4>([1, 1, 1, 1]);
    const model = varianceDenoiser(() => tf.tensor4d([0.3, -0.5], [1, 1, 1, 2]), epsilon);
    const { x0, interpolation } = model(x, at, undefined);
    expect(x0.dataSync()[0]).toBeCloseTo((-0.8 * 0.3) / 0.6, 6);
    expect(interpolation.dataSync()[0]).toBeCloseTo(0.25, 6);
    expect(() => varianceDenoiser((y) => tf.clone(y), epsilon)(x, at, undefined)).toThrow(/expected 2 channels/);
    tf.dispose([x, x0, interpolation]);
  });

  test('eps says nothing where there is no signal', () => {
    const x = tf.zeros<tf.Rank.R4>([1, 1, 1, 1]);
    const silent = { alpha: 0, sigma: 1, time: 999 };
    expect(() => denoiser((y) => tf.clone(y), epsilon)(x, silent, undefined)).toThrow(
      /says nothing about x0 at alpha 0/,
    );
    x.dispose();
  });
});

describe.each(engines)('on %s, inversion and painting on tensors', (engine) => {
  beforeAll(() => switchTo(engine));

  test('EDICT there and back through saved runs', async () => {
    const table = sigmaSchedule(karrasSigmas({ steps: 8, min: 0.05, max: 5 }));
    const model: Denoiser = (x, { sigma }) => tf.tidy(() => tf.mul<tf.Tensor4D>(x, 0.25 / (sigma ** 2 + 0.25)));
    const picture = tf.randomUniform<tf.Rank.R4>(shape, -1, 1, 'float32', 4);
    let saved: SavedRun | undefined;
    for await (const step of run(edictInverse(), model, picture, table, undefined))
      if (step.last) saved = await step.save();
    const back = await sample(edict(), model, edictStart(saved!), table, undefined);
    const worst = tf.tidy(() => tf.max(tf.abs(tf.sub(back, picture))).dataSync()[0]!);
    // Exact in real numbers; 8 steps widen float32 rounding (6e-8 of latents near 10) by 1 / 0.93 each and by their steps.
    expect(worst).toBeLessThan(1e-3);
    tf.dispose([picture, back]);
  });

  test('RePaint keeps the known part to the bit and paints the rest', async () => {
    const table = timestepSchedule(chain, trailingTimesteps(1000, 12));
    const known = Float32Array.from({ length: 48 }, (_, i) => Math.sin(i));
    const mask = known.map((_, i) => (i % 2 === 0 ? 1 : 0));
    const solver = repaint({ known, mask, jump: 3, resample: 2 });
    const x = initialNoise(table, shape, torchNoise(1));
    let evaluations = 0;
    const y = await sample(solver, denoiser(network, epsilon, { clock }), x, table, undefined, {
      noise: torchNoise(2),
      onStep: (step) => {
        evaluations = step.evaluations;
      },
    });
    y.dataSync().forEach((v, i) => {
      if (mask[i] === 1) expect(v).toBeCloseTo(known[i]!, 6);
    });
    // 12 rows, of which 3 stretches of 3 are gone through again.
    expect(evaluations).toBe(12 + 3 * 3);
    tf.dispose([x, y]);
  });
});
