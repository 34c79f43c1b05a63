import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type HostTensor, TorchGenerator } from '@mezzotint/core';
import { fixtures, relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { causalConv1d, type SelectiveScanOptions, selectiveScan, silu, ssd } from '../src/index.js';

const { readTensors } = fixtures(new URL('./fixtures/', import.meta.url));

/** float32 on both sides; exponentials of sums of some 40 terms. 1e-4 is what the project promises. */
const bar = 1e-4;

const tensorOf = ({ shape, data }: HostTensor): tf.Tensor => tf.tensor(data, [...shape], 'float32');
/** The reference's `[N, E, L]` as our `[N, L, E]`, and back. */
const turned = (t: tf.Tensor): tf.Tensor3D => tf.transpose(t as tf.Tensor3D, [0, 2, 1]);

interface Case {
  readonly x: tf.Tensor3D;
  readonly delta: tf.Tensor3D;
  readonly a: tf.Tensor2D;
  readonly b: tf.Tensor3D;
  readonly c: tf.Tensor3D;
  readonly initial: tf.Tensor3D;
}

function caseOf(n: number, length: number, width: number, states: number): Case {
  const rng = new TorchGenerator(1);
  const randn = (...shape: [number, number, number]) => tf.tensor3d(rng.randn(shape.reduce((a, b) => a * b)), shape);
  return {
    x: randn(n, length, width),
    delta: tf.softplus(randn(n, length, width)),
    a: tf.neg(tf.exp(tf.tensor2d(rng.randn(width * states), [width, states]))),
    b: randn(n, length, states),
    c: randn(n, length, states),
    initial: randn(n, width, states),
  };
}

/** The recurrence as it is written, in float64. */
function recurrence({ x, delta, a, b, c, initial }: Case): { y: number[]; state: number[] } {
  const [n, length, width] = x.shape;
  const states = a.shape[1];
  const [xs, ds, as, bs, cs] = [x, delta, a, b, c].map((t) => t.dataSync()) as Float32Array[];
  const h = [...initial.dataSync()];
  const y: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < length; t++) {
      for (let e = 0; e < width; e++) {
        const at = (i * length + t) * width + e;
        let sum = 0;
        for (let s = 0; s < states; s++) {
          const k = (i * width + e) * states + s;
          const bt = (i * length + t) * states + s;
          h[k] = Math.exp(ds![at]! * as![e * states + s]!) * h[k]! + ds![at]! * xs![at]! * bs![bt]!;
          sum += cs![bt]! * h[k]!;
        }
        y.push(sum);
      }
    }
  }
  return { y, state: h };
}

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  describe('the selective scan', () => {
    test('the reference’s output, last state and all gradients', () => {
      const io = readTensors('selective-scan/io.safetensors');
      const given = (name: string) => tensorOf(io[`in.${name}`]!);
      const check = (name: string, ours: tf.Tensor) =>
        expect(relativeError(ours.dataSync(), io[`out.${name}`]!.data), name).toBeLessThan(bar);
      const scan = (u: tf.Tensor, delta: tf.Tensor, a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) =>
        selectiveScan(turned(u), turned(delta), a as tf.Tensor2D, turned(b), turned(c), { chunk: 5, chunks: 3 });
      const whole = (
        u: tf.Tensor,
        raw: tf.Tensor,
        a: tf.Tensor,
        b: tf.Tensor,
        c: tf.Tensor,
        d: tf.Tensor,
        z: tf.Tensor,
        bias: tf.Tensor,
      ) => {
        const delta = tf.softplus(tf.add(raw, tf.reshape(bias, [-1, 1])));
        const { y, state } = scan(u, delta, a, b, c);
        const skip = tf.mul(turned(u), d);
        return { y: turned(tf.mul(tf.add(y, skip), silu(turned(z)))), state, plain: turned(y) };
      };
      const names = ['u', 'delta', 'A', 'B', 'C', 'D', 'z', 'delta_bias'];
      const inputs = names.map(given) as Parameters<typeof whole>;
      const out = whole(...inputs);
      check('y', out.y);
      check('last_state', out.state);
      check('y_plain', out.plain);
      const weight = given('weight');
      const grads = tf.grads((...args: tf.Tensor[]) => tf.sum(tf.mul(weight, whole(...(args as typeof inputs)).y)));
      for (const [i, gradient] of grads(inputs).entries()) check(`grad_${names[i]}`, gradient);
    });

    // Chunks that divide the sequence and that do not, several segments, one chunk, one token, the choice by size.
    test.each<[number, SelectiveScanOptions]>([
      [12, { chunk: 4, chunks: 3 }],
      [13, { chunk: 4, chunks: 2 }],
      [13, { chunk: 13, chunks: 1 }],
      [13, { chunk: 1, chunks: 13 }],
      [1, {}],
      [13, {}],
    ])('the recurrence itself, for %i tokens in %o, from a state', (length, options) => {
      const given = caseOf(2, length, 3, 4);
      const { x, delta, a, b, c, initial } = given;
      const before = tf.memory().numTensors;
      const { y, state } = selectiveScan(x, delta, a, b, c, { initial, ...options });
      expect(tf.memory().numTensors).toBe(before + 2);
      const expected = recurrence(given);
      expect(relativeError(y.dataSync(), expected.y)).toBeLessThan(1e-6);
      expect(relativeError(state.dataSync(), expected.state)).toBeLessThan(1e-6);
    });

    test('gradients do not depend on the chunks: of y and of the last state, for every input', () => {
      const { x, delta, a, b, c, initial } = caseOf(2, 11, 3, 2);
      const inputs = [x, delta, a, b, c, initial];
      const gradients = (options: SelectiveScanOptions) => {
        const loss = (...args: tf.Tensor[]) => {
          const [x, delta, a, b, c, initial] = args as [tf.Tensor3D, tf.Tensor3D, tf.Tensor2D, tf.Tensor3D, tf.Tensor3D, tf.Tensor3D]; // biome-ignore format: types
          const { y, state } = selectiveScan(x, delta, a, b, c, { initial, ...options });
          return tf.add(tf.sum(tf.square(y)), tf.sum(tf.square(state)));
        };
        const before = tf.memory().numTensors;
        const all = tf.grads(loss)(inputs);
        expect(tf.memory().numTensors).toBe(before + inputs.length);
        return all.map((t) => t.dataSync());
      };
      const one = gradients({ chunk: 11, chunks: 1 });
      for (const options of [{ chunk: 3, chunks: 2 }, { chunk: 1, chunks: 4 }, {}]) {
        for (const [i, g] of gradients(options).entries()) expect(relativeError(g, one[i]!)).toBeLessThan(1e-5);
      }
    });

    test('a decay to nothing and steps of thousands do not overflow', () => {
      const { a, b, c, x } = caseOf(1, 9, 2, 2);
      const delta = tf.fill([1, 9, 2], 3000) as tf.Tensor3D;
      const { y, state } = selectiveScan(x, delta, a, b, c, { chunk: 3, chunks: 2 });
      expect([...y.dataSync(), ...state.dataSync()].every(Number.isFinite)).toBe(true);
    });
  });

  describe('the causal convolution', () => {
    const rng = new TorchGenerator(4);
    const x = () => tf.tensor3d(rng.randn(2 * 5 * 3), [2, 5, 3]);
    const [weight, bias] = [rng.randn(3 * 4), rng.randn(3)];

    test('sums the last taps of each channel', () => {
      const given = x();
      const before = tf.memory().numTensors;
      const y = causalConv1d(given, tf.tensor3d(weight, [3, 1, 4]), tf.tensor1d(bias));
      expect(tf.memory().numTensors).toBe(before + 3);
      const xs = given.dataSync();
      const expected = Array.from({ length: 30 }, (_, i) => {
        const [e, t, n] = [i % 3, Math.floor(i / 3) % 5, Math.floor(i / 15)];
        const terms = [0, 1, 2, 3].map((j) =>
          t - 3 + j < 0 ? 0 : weight[e * 4 + j]! * xs[(n * 5 + t - 3 + j) * 3 + e]!,
        );
        return terms.reduce((a, b) => a + b, bias[e]!);
      });
      expect(relativeError(y.dataSync(), expected)).toBeLessThan(1e-6);
    });

    test('gradients are difference quotients of a quadratic, which are exact', () => {
      const inputs = [x(), tf.tensor3d(weight, [3, 1, 4]), tf.tensor1d(bias)] as const;
      const loss = (...args: tf.Tensor[]) =>
        tf.mul(0.5, tf.sum(tf.square(causalConv1d(args[0] as tf.Tensor3D, args[1]!, args[2]!)))) as tf.Scalar;
      const grads = tf.grads(loss)([...inputs]);
      for (const [i, gradient] of grads.entries()) {
        const direction = tf.tensor(rng.randn(gradient.size), gradient.shape);
        const at = (h: number) => {
          const moved = inputs.map((t, k) => (k === i ? tf.add(t, tf.mul(direction, h)) : t));
          return loss(...moved).dataSync()[0]!;
        };
        const slope = tf.sum(tf.mul(direction, gradient)).dataSync()[0]!;
        // Rounding of float32 sums of some hundred, over a step of one.
        expect((at(0.5) - at(-0.5)) / slope).toBeCloseTo(1, 3);
      }
    });
  });

  describe('the state space dual', () => {
    test.each([8, 5, 24, 1, 64])('the reference’s output, state and all gradients, in chunks of %i', (chunk) => {
      const io = readTensors('ssd/io.safetensors');
      const given = (name: string) => tensorOf(io[`in.${name}`]!);
      const check = (name: string, ours: tf.Tensor) =>
        expect(relativeError(ours.dataSync(), io[`out.${name}`]!.data), name).toBeLessThan(bar);
      const run = (...args: tf.Tensor[]) => {
        const [x, dt, a, b, c, initial] = args as [tf.Tensor4D, tf.Tensor3D, tf.Tensor1D, tf.Tensor4D, tf.Tensor4D, tf.Tensor | undefined]; // biome-ignore format: types
        const state = initial && (tf.squeeze(initial, [1]) as tf.Tensor4D);
        return ssd(x, dt, a, b, c, { chunk, initial: state });
      };
      const names = ['x', 'dt', 'A', 'B', 'C', 'initial'];
      const inputs = names.map(given);
      const plain = run(...inputs.slice(0, 5));
      check('y', plain.y);
      check('final_state', plain.state);
      const out = run(...inputs);
      check('y_initial', out.y);
      check('final_state_initial', out.state);
      const weight = given('weight');
      const grads = tf.grads((...args: tf.Tensor[]) => tf.sum(tf.mul(weight, run(...args).y)))(inputs);
      for (const [i, gradient] of grads.entries()) check(`grad_${names[i]}`, gradient);
    });

    test('is the selective scan where the decay is one number a head; groups are shared by heads', () => {
      const [n, length, heads, p, groups, states] = [2, 7, 4, 3, 2, 5];
      const rng = new TorchGenerator(2);
      const randn = (...shape: number[]) => tf.tensor(rng.randn(shape.reduce((a, b) => a * b)), shape);
      const x = randn(n, length, heads, p) as tf.Tensor4D;
      const delta = tf.softplus(randn(n, length, heads)) as tf.Tensor3D;
      const a = tf.neg(tf.exp(randn(heads))) as tf.Tensor1D;
      const [b, c] = [randn(n, length, groups, states), randn(n, length, groups, states)] as [tf.Tensor4D, tf.Tensor4D];
      const before = tf.memory().numTensors;
      const { y } = ssd(x, delta, a, b, c, { chunk: 3 });
      expect(tf.memory().numTensors).toBe(before + 2);
      for (let h = 0; h < heads; h++) {
        const head = (t: tf.Tensor) => tf.squeeze(tf.slice(t, [0, 0, h], [-1, -1, 1]), [2]) as tf.Tensor3D;
        const group = (t: tf.Tensor) =>
          tf.squeeze(tf.slice(t, [0, 0, Math.floor(h / 2)], [-1, -1, 1]), [2]) as tf.Tensor3D;
        const step = tf.tile(tf.slice(delta, [0, 0, h], [-1, -1, 1]), [1, 1, p]);
        const decay = tf.fill([p, states], a.dataSync()[h]!) as tf.Tensor2D;
        const scan = selectiveScan(head(x), step, decay, group(b), group(c));
        expect(relativeError(head(y).dataSync(), scan.y.dataSync())).toBeLessThan(1e-5);
      }
    });
  });
});

test('shapes that do not fit are refused, all at once', () => {
  const { x, delta, a, b, c, initial } = caseOf(2, 3, 4, 5);
  expect(() => selectiveScan(x, tf.zeros([2, 3, 3]), a, c, tf.zeros([2, 2, 5]), { initial: x })).toThrow(
    /selectiveScan:[\s\S]*delta \[2,3,4\][\s\S]*c \[2,3,5\][\s\S]*initial \[2,4,5\]/,
  );
  expect(() => selectiveScan(tf.zeros([2, 0, 4]), delta, a, b, c, { initial })).toThrow(/at least one token/);
  const x4 = tf.zeros<tf.Rank.R4>([2, 3, 4, 1]);
  expect(() => ssd(x4, delta, tf.zeros([3]), tf.zeros([2, 3, 3, 5]), tf.zeros([2, 3, 3, 5]))).toThrow(
    /divide the 4 heads/,
  );
  expect(() => ssd(x4, x, tf.zeros([3]), tf.zeros([2, 3, 2, 5]), tf.zeros([2, 3, 2, 4]))).toThrow(
    /a \[4\][\s\S]*c \[2,3,2,5\]/,
  );
});
