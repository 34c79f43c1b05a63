import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type { Denoiser } from '@mezzotint/core';
import { euler, flowSchedule, run, type SavedRun } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { adaptiveProjected, classifierFree, type MomentumGuidance, project, projectedMix } from '../src/index.js';
import { at, conditional, expectClose, said, unconditional } from './engine.js';

const values = (x: tf.Tensor) => x.dataSync();
const unconditionalOptions = { unconditional: 'u' };

/** Depends on x and on the condition, so that steps differ. */
const model: Denoiser<string> = (x, { sigma }, cond) =>
  tf.tidy(() => tf.add(tf.mul(said(x, at, cond), 1 - sigma), tf.mul(x, 0.3 * sigma)));

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('parallel 1, no threshold and no momentum is classifier-free guidance', () => {
    const apg = adaptiveProjected({ scale: 5, parallel: 1 }).guide(said, unconditionalOptions);
    const cfg = classifierFree(said, { scale: 5, ...unconditionalOptions });
    expectClose(values(apg(conditional(), at, 'c')), values(cfg(conditional(), at, 'c')), 2e-6);
  });

  test('parallel 0 leaves no part of the update along the conditional estimate', () => {
    const [c, u] = [conditional(), unconditional()];
    const update = tf.sub(project(c, u, tf.sub(c, u), at, { scale: 1, norm: 5 }), u);
    const along = values(tf.sum(tf.mul(update, c), [1, 2, 3]));
    // Sums of 256 products of size 1 that cancel: 256 roundings of 6e-8.
    for (const v of along) expect(Math.abs(v)).toBeLessThan(256 * 6e-8);
    const norms = values(tf.norm(tf.reshape(update, [2, -1]), 2, 1));
    for (const n of norms) expect(n).toBeLessThanOrEqual(5 * (1 + 1e-6));
    const free = values(project(c, u, tf.sub(c, u), at, { scale: 1 }));
    expect([...values(project(c, u, tf.sub(c, u), at, { scale: 1, norm: 0 }))]).toEqual([...free]); // 0 is no limit
    expect(Math.max(...norms)).toBeLessThan(Math.max(...values(tf.norm(tf.reshape(tf.sub(c, u), [2, -1]), 2, 1))));
  });

  test('a run that is saved and resumed goes on to the bit', async () => {
    const table = flowSchedule([1, 0.8, 0.6, 0.4, 0.2, 0]);
    const fresh = () => adaptiveProjected({ scale: 4, momentum: -0.5, norm: 15 });
    const start = conditional();
    const whole = fresh();
    let saved: { readonly run: SavedRun; readonly momentum: unknown } | undefined;
    let end: Float32Array | undefined;
    for await (const step of run(euler(), whole.guide(model, unconditionalOptions), start, table, 'c')) {
      if (step.index === 1) saved = { run: await step.save(), momentum: JSON.parse(asJson(await whole.save())) };
      if (step.last) end = Float32Array.from(values(step.x));
    }
    whole.dispose();

    const resume = async (guidance: MomentumGuidance) => {
      let result: Float32Array | undefined;
      for await (const step of run(euler(), guidance.guide(model, unconditionalOptions), saved!.run, table, 'c')) {
        if (step.last) result = Float32Array.from(values(step.x));
      }
      guidance.dispose();
      return result;
    };
    const restored = fresh();
    restored.restore(fromJson(saved!.momentum));
    expect(await resume(restored)).toEqual(end);
    // The memory matters: without it the run ends elsewhere.
    expect(await resume(fresh())).not.toEqual(end);
  });

  function asJson(saved: Awaited<ReturnType<MomentumGuidance['save']>>): string {
    return JSON.stringify({ shape: saved.average!.shape, data: [...saved.average!.data] });
  }

  function fromJson(json: unknown): Awaited<ReturnType<MomentumGuidance['save']>> {
    const { shape, data } = json as { shape: number[]; data: number[] };
    return { average: { shape, data: Float32Array.from(data) } };
  }

  test('it holds one tensor until it is reset, inside a tidy too', () => {
    const x = conditional();
    const guidance = adaptiveProjected({ scale: 4, momentum: -0.5 });
    const denoiser = guidance.guide(model, unconditionalOptions);
    const before = tf.memory().numTensors;
    for (let i = 0; i < 3; i++) tf.tidy(() => void denoiser(x, at, 'c'));
    expect(tf.memory().numTensors - before).toBe(1);
    const other = tf.zeros<tf.Rank.R4>([1, 2, 2, 1]);
    const small: Denoiser<string> = (noisy) => tf.clone(noisy);
    expect(() => guidance.guide(small, unconditionalOptions)(other, at, 'c')).toThrow(/call reset\(\)/);
    other.dispose();
    guidance.reset();
    expect(tf.memory().numTensors).toBe(before);
    guidance.restore({ average: null });
    expect(tf.memory().numTensors).toBe(before);
  });

  test('APG-mix gathers momentum while it guides plainly, and projects below its ratio', () => {
    const options = { scale: 10, momentum: -0.5, norm: 5 };
    const mix = projectedMix({ ...options, plainScale: 3, projectBelow: 1 });
    const denoiser = mix.guide(said, unconditionalOptions);
    const high = values(denoiser(conditional(), { alpha: 0.5, sigma: 0.8 }, 'c'));
    const low = values(denoiser(conditional(), at, 'c'));
    mix.dispose();
    const cfg = classifierFree(said, { scale: 3, ...unconditionalOptions });
    expect(high).toEqual(values(cfg(conditional(), at, 'c')));
    // Below: as the second call of APG, which has gathered the same difference once.
    const apg = adaptiveProjected(options);
    const twice = apg.guide(said, unconditionalOptions);
    twice(conditional(), at, 'c').dispose();
    expect(low).toEqual(values(twice(conditional(), at, 'c')));
    apg.dispose();
  });
});
