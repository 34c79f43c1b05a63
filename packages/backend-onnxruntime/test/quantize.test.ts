import { dequantize, type OnnxRuntimeBackend, quantize, type WeightPrecision } from '@mezzotint/backend-onnxruntime';
import { Module } from '@mezzotint/core';
import { Conv2d, Linear } from '@mezzotint/layers';
import { relativeError } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { decode16, encode16, encodeBlocks, widen } from '../src/memory/narrow.js';
import { normals } from './against-cpu.js';

beforeAll(async () => {
  await tf.setBackend('onnxruntime');
});

/** A convolution and a linear layer: `[N, 8, 8, 16] -> [N, 64, 48]`. */
class Small extends Module {
  readonly conv = new Conv2d(16, 32, 3);
  readonly linear = new Linear(32, 48);
  forward(x: tf.Tensor4D): tf.Tensor {
    return tf.tidy(() => this.linear.forward(tf.reshape(this.conv.forward(x), [x.shape[0], 64, 32])));
  }
}

describe('sixteen bits', () => {
  test.each([
    ['float16', [0, -0, 1, -2.5, 65504, 2 ** -14, 2 ** -24, Number.POSITIVE_INFINITY]],
    ['bfloat16', [0, -0, 1, -2.5, 2 ** 127, 2 ** -126, Number.NEGATIVE_INFINITY]],
  ] as const)('%s keeps what it can represent', (kind, numbers) => {
    expect([...decode16(encode16(Float32Array.from(numbers), kind), kind)]).toEqual(numbers.map(Math.fround));
    expect(decode16(encode16(Float32Array.of(Number.NaN), kind), kind)[0]).toBeNaN();
  });

  test('every float16 survives a round trip', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
    expect(encode16(decode16(all, 'float16'), 'float16')).toEqual(all);
  });

  test('rounds to nearest, ties to even', () => {
    // Between 1 and 1 + 2^-10: the tie goes to the even 1; above it, up.
    expect([
      ...decode16(encode16(Float32Array.of(1 + 2 ** -11, 1 + 2 ** -11 + 2 ** -20), 'float16'), 'float16'),
    ]).toEqual([1, 1 + 2 ** -10]);
  });
});

describe('blocks', () => {
  test.each([4, 8] as const)(
    '%i bits: the error is at most half a step of the block, one step for its far end',
    (bits) => {
      const data = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i * 1.7) * (1 + Math.floor(i / 32)));
      const narrow = encodeBlocks(data, bits, 32);
      const back = widen(narrow);
      for (let i = 0; i < data.length; i++) {
        const most = 1 + Math.floor(i / 32);
        expect(Math.abs(back[i]! - data[i]!)).toBeLessThanOrEqual(most / 2 ** (bits - 1) + 1e-6);
      }
    },
  );
});

describe('quantize', () => {
  // Weights rounded to 2^-11 (float16), 2^-9 (bfloat16), about 1/256 and 1/16 of a block's largest: the output's relative
  // error is of that size, whatever the number of terms, because the roundings are independent.
  test.each([
    [{ weights: 'float16' }, 5e-4, 0.501],
    [{ weights: 'bfloat16' }, 4e-3, 0.501],
    [{ weights: 'int8' }, 1e-2, 0.93],
    [{ weights: 'int4' }, 0.12, 0.9],
    [{ weights: 'int8', integerProducts: true }, 2e-2, 0.93],
    [{ weights: 'int4', integerProducts: true, block: 16 }, 0.12, 0.9],
  ] as const)('%j', (options, error, share) => {
    const model = new Small().init(3);
    const x = normals([2, 8, 8, 16]) as tf.Tensor4D;
    const before = model.forward(x).dataSync();
    const report = quantize(model, options);
    const after = model.forward(x).dataSync();
    const again = model.forward(x).dataSync();
    expect(relativeError(after, before)).toBeLessThan(error);
    expect(relativeError(after, before)).toBeGreaterThan(0);
    expect(again).toEqual(after);
    expect(report.bytesAfter / report.bytesBefore).toBeLessThan(share);
    // Reading a quantized weight gives what the graph uses.
    const weight = model.linear.weight.variable.dataSync();
    const w = tf.tensor2d(weight as Float32Array, [48, 32]);
    const y = model.conv.forward(x);
    const expected = tf
      .tidy(() => tf.add(tf.matMul(tf.reshape(y, [128, 32]), w, false, true), model.linear.bias!.value))
      .dataSync();
    expect(relativeError(after, expected)).toBeLessThan('integerProducts' in options ? 2e-2 : 1e-5);
    model.dispose();
  });

  test('large codes lie beside the model and give the same numbers', () => {
    const layer = new Linear(512, 512).init(3); // 256 KiB of codes
    const x = normals([4, 512]);
    quantize(layer, { weights: 'int8' });
    const y = tf.tidy(() => layer.forward(x)).dataSync();
    const w = tf.tensor2d(layer.weight.variable.dataSync() as Float32Array, [512, 512]);
    const expected = tf.tidy(() => tf.add(tf.matMul(x as tf.Tensor2D, w, false, true), layer.bias!.value)).dataSync();
    expect(relativeError(y, expected)).toBeLessThan(1e-5);
  });

  test('layers of one shape share a program with 8-bit weights, which are fed; 4-bit ones are constants of their own', () => {
    const statistics = () => (tf.backend() as OnnxRuntimeBackend).statistics();
    for (const [weights, programs] of [
      ['int8', 1],
      ['int4', 2],
    ] as const) {
      const layers = [new Linear(96, 32).init(1), new Linear(96, 32).init(2)];
      const x = normals([5, 96]);
      const before = statistics().compiled;
      for (const layer of layers) {
        quantize(layer, { weights });
        const y = tf.tidy(() => layer.forward(x)).dataSync();
        const w = tf.tensor2d(layer.weight.variable.dataSync() as Float32Array, [32, 96]);
        const sums = tf.tidy(() => layer.bias!.value.dataSync());
        const [a, m] = [x.dataSync(), w.dataSync()];
        // On the host, so that no other program is compiled.
        const expected = Float32Array.from(y, (_, i) => {
          let sum = sums[i % 32]!;
          for (let k = 0; k < 96; k++) sum += a[Math.floor(i / 32) * 96 + k]! * m[(i % 32) * 96 + k]!;
          return sum;
        });
        expect(relativeError(y, expected)).toBeLessThan(1e-5);
        tf.dispose(w);
        layer.dispose();
      }
      expect(statistics().compiled - before).toBe(programs);
      x.dispose();
    }
  });

  test('says what is wrong, all at once', () => {
    const wrong = { weights: 'fp8' as WeightPrecision, block: 24 };
    expect(() => quantize(new Small().init(1), wrong)).toThrow(
      /weights: expected one of float16, bfloat16, int8, int4, got "fp8".*block.*24/s,
    );
  });

  test('weights that the format cannot hold are named, with their largest, and nothing is quantized', () => {
    const model = new Small().init(3);
    const set = (param: { variable: tf.Variable }, value: number) =>
      tf.tidy(() => param.variable.assign(tf.add(tf.zerosLike(param.variable), value)));
    set(model.conv.weight, -65520); // the smallest that float16 rounds to infinity
    set(model.linear.weight, 1e6);
    set(model.linear.bias!, 65519);
    const { numBytes } = tf.memory();
    const tooLarge = () => quantize(model, { weights: 'float16' });
    expect(tooLarge).toThrow('conv.weight: expected magnitudes up to 65504 for float16, got 65520; use bfloat16');
    expect(tooLarge).toThrow('linear.weight: expected magnitudes up to 65504 for float16, got 1000000; use bfloat16');
    expect(tooLarge).not.toThrow('bias');
    expect(dequantize(model).quantized).toEqual([]);
    expect(quantize(model, { weights: 'float16', select: (path) => path.endsWith('bias') }).quantized).toHaveLength(2);
    expect(model.linear.bias!.variable.dataSync()[0]).toBe(65504);
    set(model.linear.weight, Number.NaN);
    for (const weights of ['bfloat16', 'int8'] as const) {
      expect(() => quantize(model, { weights })).toThrow('linear.weight: expected finite weights, got NaN or Infinity');
    }
    expect(tf.memory().numBytes).toBe(numBytes);
    model.dispose();
  });
});

describe('dequantize', () => {
  test.each(['float16', 'bfloat16', 'int8', 'int4'] as const)(
    '%s: the numbers stay, in float32 again',
    async (weights) => {
      const model = new Small().init(3);
      const x = normals([2, 8, 8, 16]) as tf.Tensor4D;
      const before = tf.memory();
      const report = quantize(model, { weights });
      const y = tf.tidy(() => model.forward(x).dataSync());
      const state = await model.save();
      const dequantized = dequantize(model);
      expect(dequantized).toEqual({
        quantized: report.quantized,
        bytesBefore: report.bytesAfter,
        bytesAfter: report.bytesBefore,
      });
      expect(await model.save()).toEqual(state);
      // The same numbers by other kernels: 96 products in another order.
      expect(
        relativeError(
          tf.tidy(() => model.forward(x).dataSync()),
          y,
        ),
      ).toBeLessThan(1e-5);
      expect(dequantize(model).quantized).toEqual([]);
      expect(tf.memory()).toEqual(before);
      x.dispose();
      model.dispose();
    },
  );

  // With or without dequantizing first: quantized weights are float32 to whoever asks.
  test.each([true, false])('loading and training go on, dequantized first: %s', async (first) => {
    const model = new Small().init(3);
    const original = await model.save();
    const x = normals([2, 8, 8, 16]) as tf.Tensor4D;
    quantize(model, { weights: 'int4' });
    const quantized = await model.save();
    if (first) dequantize(model);
    const { weight } = model.linear;
    const step = () =>
      tf.tidy(() => {
        const { grads } = tf.variableGrads(() => tf.sum(tf.square(model.forward(x))) as tf.Scalar, [weight.variable]);
        weight.variable.assign(tf.sub(weight.variable, tf.mul(Object.values(grads)[0]!, 1e-3)));
        return Object.values(grads)[0]!.dataSync();
      });
    const slope = step();
    const wanted = quantized['linear.weight']!.data.map((w, i) => w - 1e-3 * slope[i]!);
    expect(relativeError(weight.variable.dataSync(), wanted as Float32Array)).toBeLessThan(1e-6);
    expect(dequantize(model).quantized).not.toContain('linear.weight');
    await model.load(original);
    expect(await model.save()).toEqual(original);
    x.dispose();
    model.dispose();
  });

  test('says which engine it needs', async () => {
    await tf.setBackend('cpu');
    expect(() => dequantize(new Small())).toThrow('dequantize: expected the engine onnxruntime, got cpu');
    expect(() => quantize(new Small(), { weights: 'float16' })).toThrow(
      'quantize: expected the engine onnxruntime, got cpu',
    );
    await tf.setBackend('onnxruntime');
  });
});
