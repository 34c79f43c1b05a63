import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { readFileSync } from 'node:fs';
import { InvalidArgumentError, Module, Param, table, WeightsMismatchError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  ADAMW_KERNEL,
  type AdamOptions,
  type AdamWKernelInputs,
  adamW,
  noDecayOnBiasAndNorm,
  type Optimizer,
} from '../src/index.js';

interface Fixture {
  readonly cases: readonly {
    readonly name: string;
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weightDecay: number;
    readonly clip: number | null;
    readonly norms: readonly number[];
    readonly trajectory: readonly { readonly step: number; readonly a: number[]; readonly b: number[] }[];
    readonly exp_avg: number[];
    readonly exp_avg_sq: number[];
  }[];
}
const fixture = JSON.parse(readFileSync(new URL('fixtures/adamw.json', import.meta.url), 'utf8')) as Fixture;

const filled = (n: number, f: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => f(i));

class Pair extends Module {
  readonly a = new Param([3, 4], { init: table(filled(12, (i) => Math.sin(0.7 * i + 0.2))) });
  readonly b = new Param([4], { init: table(filled(4, (i) => Math.cos(0.5 * i))) });
}

/** The gradients of update s in the fixture. */
function gradients(s: number): Map<string, tf.Tensor> {
  return new Map([
    [
      'a',
      tf.tensor(
        filled(12, (i) => 0.3 * Math.sin(1.3 * i + 0.9 * s) * (i === 5 ? 10 : 1)),
        [3, 4],
      ),
    ],
    [
      'b',
      tf.tensor(
        filled(4, (i) => 0.01 * Math.cos(2.1 * i + 0.4 * s) * s),
        [4],
      ),
    ],
  ]);
}

async function run(optimizer: Optimizer, from: number, to: number, lr: (s: number) => number, clip?: number) {
  const norms: number[] = [];
  for (let s = from; s <= to; s++) {
    const g = gradients(s);
    norms.push(
      await optimizer.step(g, { learningRate: lr(s), ...(clip === undefined ? {} : { maxGradientNorm: clip }) }),
    );
    tf.dispose([...g.values()]);
  }
  return norms;
}

/** AdamW in one pass, as an engine would register it. */
function registerFusedKernel() {
  tf.registerKernel({
    kernelName: ADAMW_KERNEL,
    backendName: 'cpu',
    kernelFunc: ({ inputs, backend, attrs }) => {
      const read = (name: keyof AdamWKernelInputs) =>
        (backend as { readSync(id: object): Float32Array }).readSync(inputs[name]!.dataId);
      const { beta1, beta2, epsilon } = attrs as { beta1: number; beta2: number; epsilon: number };
      const [keep, scale, size, root] = [read('keep'), read('gradientScale'), read('stepSize'), read('rootScale')];
      const g = read('gradient').map((x) => x * scale[0]!);
      const mean = read('mean').map((m, i) => m + (g[i]! - m) * (1 - beta1));
      const square = read('square').map((v, i) => v * beta2 + g[i]! ** 2 * (1 - beta2));
      const param = read('param').map(
        (p, i) => p * keep[0]! - (size[0]! * mean[i]!) / (root[0]! * Math.sqrt(square[i]!) + epsilon),
      );
      const shape = inputs.param!.shape;
      return [param, mean, square].map((values) => ({
        dataId: (backend as { write(v: Float32Array, s: number[], d: string): object }).write(values, shape, 'float32'),
        shape,
        dtype: 'float32' as const,
      }));
    },
  });
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  afterEach(() => {
    if (tf.getKernel(ADAMW_KERNEL, 'cpu') !== undefined) tf.unregisterKernel(ADAMW_KERNEL, 'cpu');
  });

  const forms = {
    'on the host': (model: Module, options: AdamOptions) => adamW(model, { ...options, place: 'host' }),
    'on the device': (model: Module, options: AdamOptions) => adamW(model, { ...options, place: 'device' }),
    'by a fused kernel': (model: Module, options: AdamOptions) => {
      registerFusedKernel();
      return adamW(model, options);
    },
  };

  describe.each(Object.entries(forms))('AdamW %s', (_, make) => {
    test.each(fixture.cases)("equals PyTorch's parameters, moments and norms: $name", async (c) => {
      const model = new Pair().init(0);
      const optimizer = make(model, {
        betas: c.betas,
        epsilon: c.eps,
        weightDecay: c.weightDecay,
        decays: noDecayOnBiasAndNorm,
      });
      const before = tf.memory().numTensors;
      const norms: number[] = [];
      let done = 0;
      for (const { step, a, b } of c.trajectory) {
        norms.push(...(await run(optimizer, done + 1, step, (s) => c.lr * Math.min(1, s / 4), c.clip ?? undefined)));
        done = step;
        // Twelve updates of a few float32 roundings each (2^-24 relative) stay below 12 * 6e-8.
        expect(await far(model.a, a)).toBeLessThan(1e-6);
        expect(await far(model.b, b)).toBeLessThan(1e-6);
      }
      for (const [i, norm] of c.norms.entries()) expect(norms[i]! / norm).toBeCloseTo(1, 6);
      const { step, tensors } = await optimizer.save();
      expect(step).toBe(done);
      expect(largest(tensors['a.exp_avg']!.data, c.exp_avg)).toBeLessThan(1e-6);
      expect(largest(tensors['a.exp_avg_sq']!.data, c.exp_avg_sq)).toBeLessThan(1e-6);
      expect(tf.memory().numTensors - before).toBeLessThanOrEqual(4);
      optimizer.dispose();
      expect(tf.memory().numTensors).toBe(before);
      model.dispose();
    });

    test('goes on bit for bit from a saved state', async () => {
      const whole = new Pair().init(0);
      const one = make(whole, {});
      await run(one, 1, 6, () => 0.01);
      const first = new Pair().init(0);
      const two = make(first, {});
      await run(two, 1, 3, () => 0.01);
      const second = await new Pair().load(await first.save());
      const three = make(second, {});
      three.load(await two.save());
      await run(three, 4, 6, () => 0.01);
      expect(await second.save()).toEqual(await whole.save());
      expect(await three.save()).toEqual(await one.save());
    });

    test('an update with a gradient that is not finite changes nothing', async () => {
      const model = new Pair().init(0);
      const optimizer = make(model, {});
      await run(optimizer, 1, 1, () => 0.01);
      const before = [await model.save(), await optimizer.save()];
      const bad = new Map([['a', tf.fill([3, 4], Number.NaN)]]);
      await expect(optimizer.step(bad, { learningRate: 0.1 })).rejects.toThrow(/Update 2.*NaN.*nothing was changed/);
      expect([await model.save(), await optimizer.save()]).toEqual(before);
    });

    test('a parameter without a gradient stays, undecayed and without moments', async () => {
      const model = new Pair().init(0);
      const optimizer = make(model, { weightDecay: 0.5 });
      const before = (await model.save()).b;
      const g = gradients(1);
      g.delete('b');
      await optimizer.step(g, { learningRate: 0.1 });
      expect((await model.save()).b).toEqual(before);
      expect(Object.keys((await optimizer.save()).tensors)).toEqual(['a.exp_avg', 'a.exp_avg_sq']);
    });
  });

  test('a state loads into the other form', async () => {
    const model = new Pair().init(0);
    const host = adamW(model, { place: 'host' });
    await run(host, 1, 3, () => 0.01);
    const device = adamW(model, { place: 'device' });
    device.load(await host.save());
    expect(await device.save()).toEqual(await host.save());
  });

  test('a state of other parameters is refused with all differences', async () => {
    const optimizer = adamW(new Pair().init(0), { place: 'host' });
    const vector = { shape: [3], data: new Float32Array(3) };
    try {
      optimizer.load({ step: 1, tensors: { 'b.exp_avg': vector, 'c.exp_avg': vector } });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(WeightsMismatchError);
      const { missing, unexpected, mismatched } = error as WeightsMismatchError;
      expect(missing).toEqual(['b.exp_avg_sq']);
      expect(unexpected).toEqual(['c.exp_avg']);
      expect(mismatched).toEqual([{ name: 'b.exp_avg', expected: '[4]', got: '[3]' }]);
    }
  });

  test('biases, norms, decays of state-space models and positions do not decay, whatever their axes', () => {
    for (const name of ['bias', 'beta', 'gamma', 'A_log', 'A_b_log', 'D', 'D_b', 'pos_embed']) {
      expect(noDecayOnBiasAndNorm(`blocks.0.${name}`, [4, 16])).toBe(false);
      expect(noDecayOnBiasAndNorm(name, [4, 16])).toBe(false);
    }
    expect(noDecayOnBiasAndNorm('norm.weight', [16])).toBe(false);
    for (const name of ['weight', 'kernel', 'tape_pos_emb', 'relative_attention_bias.weight', 'bias.kernel']) {
      expect(noDecayOnBiasAndNorm(`blocks.0.${name}`, [4, 16])).toBe(true);
    }
  });

  test('options out of range are refused together', () => {
    expect(() => adamW(new Pair(), { betas: [1, -1], weightDecay: -1 })).toThrow(InvalidArgumentError);
    expect(() => adamW(new Pair(), { betas: [1, -1], weightDecay: -1 })).toThrow(
      /got 1\n.*got -1\n.*weightDecay.*got -1/,
    );
  });
});

async function far(param: Param, expected: readonly number[]): Promise<number> {
  return largest((await param.toHost()).data, expected);
}

function largest(got: ArrayLike<number>, expected: readonly number[]): number {
  return Math.max(...expected.map((e, i) => Math.abs(got[i]! - e)));
}
