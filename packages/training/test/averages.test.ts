import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, type Module, WeightsMismatchError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Average, constantDecay, type EmaDecay, ema, powerWarmUp, ratioWarmUp } from '../src/index.js';
import { TinyNet } from './tiny-model.js';

const golden = JSON.parse(readFileSync(new URL('fixtures/rates-and-decays.json', import.meta.url), 'utf8')) as Record<
  string,
  number[]
>;

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test("the warm-ups are diffusers'", () => {
    const power = powerWarmUp({ decay: 0.9999 });
    const expected = golden['EMA get_decay power=2/3 inv_gamma=1 step 1,10,100,1000 (diffusers use_ema_warmup)']!;
    [1, 10, 100, 1000].forEach((s, i) => {
      expect(power(s)).toBeCloseTo(expected[i]!, 12);
    });
    const ratio = golden['diffusers default EMA decay (1+s)/(10+s) step 1,10,100']!;
    [1, 10, 100].forEach((s, i) => {
      expect(ratioWarmUp()(s)).toBeCloseTo(ratio[i]!, 12);
    });
    expect([power(0), ratioWarmUp()(0), ratioWarmUp(0.9)(1e9), powerWarmUp({ decay: 0.9 })(1e9)]).toEqual([
      0, 0, 0.9, 0.9,
    ]);
    expect(() => constantDecay(1.1)).toThrow(InvalidArgumentError);
  });

  /** Adds 1 to every parameter. */
  function move(model: Module) {
    for (const param of model.params().values()) {
      const next = tf.add(param.variable, 1);
      param.variable.assign(next);
      next.dispose();
    }
  }

  const forms: Record<string, (model: Module, decay: EmaDecay) => Average> = {
    'on the host': (model, decay) => ema(model, decay, { place: 'host' }),
    'on the device': (model, decay) => ema(model, decay, { place: 'device' }),
    'as chosen': ema,
  };

  describe.each(Object.entries(forms))('an average %s', (_, make) => {
    test('is the closed form of a ramp', async () => {
      const model = new TinyNet().init(1);
      const start = await model.save();
      const average = make(model, constantDecay(0.8));
      for (let i = 0; i < 10; i++) {
        move(model);
        average.update();
      }
      // e_n = sum over k of 0.2 0.8^(n-k) (p0 + k) + 0.8^n p0 = p0 + n - 4 (1 - 0.8^n).
      const shift = 10 - 4 * (1 - 0.8 ** 10);
      const { updates, tensors } = await average.save();
      expect(updates).toBe(10);
      expect(Object.keys(tensors)).toEqual(Object.keys(start));
      for (const [name, { data, shape }] of Object.entries(tensors)) {
        expect(shape).toEqual(start[name]!.shape);
        // Ten float32 roundings of numbers below 16.
        data.forEach((x, i) => {
          expect(Math.abs(x - (start[name]!.data[i]! + shift))).toBeLessThan(1e-5);
        });
      }
    });

    test('stands in for the weights while a body runs, also an asynchronous one, and they come back', async () => {
      const model = new TinyNet().init(1);
      const average = make(model, constantDecay(0.5));
      const before = tf.memory().numTensors;
      move(model);
      average.update();
      const own = await model.save();
      const inside = await average.withAveragedWeights(async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return model.save();
      });
      expect(inside).toEqual((await average.save()).tensors);
      expect(inside).not.toEqual(own);
      expect(await model.save()).toEqual(own);
      await expect(
        average.withAveragedWeights(() => {
          throw new Error('body');
        }),
      ).rejects.toThrow('body');
      expect(await model.save()).toEqual(own);
      expect(tf.memory().numTensors).toBe(before);
      average.dispose();
      model.dispose();
    });

    test('goes on bit for bit from a saved state, and a model loads it', async () => {
      const model = new TinyNet().init(1);
      const one = make(model, ratioWarmUp(0.9));
      for (let i = 0; i < 3; i++) {
        move(model);
        one.update();
      }
      const state = await one.save();
      const two = make(model, ratioWarmUp(0.9));
      two.load(state);
      move(model);
      one.update();
      two.update();
      expect(await two.save()).toEqual(await one.save());
      await new TinyNet().load(state.tensors);
    });
  });

  test('a state of another model is refused with all differences', async () => {
    const average = ema(new TinyNet(4).init(1), constantDecay(0.9));
    const other = await ema(new TinyNet(5).init(1), constantDecay(0.9)).save();
    expect(() => average.load(other)).toThrow(WeightsMismatchError);
    expect(() => average.load(other)).toThrow(/inBias: expected \[4\], got \[5\]/);
  });
});
