import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { InvalidArgumentError, MezzotintError, TorchGenerator, WeightsMismatchError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  codebookLoss,
  codebookUsage,
  commitmentLoss,
  EmaCodebook,
  straightThrough,
  VectorQuantizer,
  vqLoss,
} from '../src/index.js';
import { noise, randomise } from './support/tiny.js';

describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  test('nearest is the argmin of the distance, lookup its vector', async () => {
    const quantizer = new VectorQuantizer(7, 3);
    await randomise(quantizer, 1, 1);
    const z = noise([2, 3, 4, 3]);
    const before = tf.memory().numTensors;
    const indices = quantizer.nearest(z);
    const codes = quantizer.lookup(indices);
    expect(tf.memory().numTensors).toBe(before + 2);
    expect(indices.shape).toEqual([2, 3, 4]);
    const [pixels, table, chosen, out] = [z, quantizer.embedding.weight.value, indices, codes].map((t) => t.dataSync());
    for (let m = 0; m < 24; m++) {
      const distance = (k: number) =>
        [0, 1, 2].reduce((sum, c) => sum + (pixels![3 * m + c]! - table![3 * k + c]!) ** 2, 0);
      const best = [0, 1, 2, 3, 4, 5, 6].reduce((a, b) => (distance(b) < distance(a) ? b : a));
      expect(chosen![m]).toBe(best);
      for (let c = 0; c < 3; c++) expect(out![3 * m + c]).toBe(table![3 * best + c]);
    }
    tf.dispose([z, indices, codes]);
    quantizer.dispose();
  });

  test('straight through: the value is the code, the gradient goes to z alone and unchanged', () => {
    const [z, codes, dy] = [noise([1, 2, 2, 3], 1), noise([1, 2, 2, 3], 2), noise([1, 2, 2, 3], 3)];
    const before = tf.memory().numTensors;
    const { value, grads } = tf.valueAndGrads((z: tf.Tensor, codes: tf.Tensor) =>
      straightThrough(z as tf.Tensor4D, codes as tf.Tensor4D),
    )([z, codes], dy);
    expect(tf.memory().numTensors).toBe(before + 3);
    expect([...value.dataSync()]).toEqual([...codes.dataSync()]);
    expect([...grads[0]!.dataSync()]).toEqual([...dy.dataSync()]);
    expect([...grads[1]!.dataSync()].every((g) => g === 0)).toBe(true);
    tf.dispose([z, codes, dy, value, grads]);
  });

  test('the quantiser hands the decoder’s gradient to the encoder', async () => {
    const quantizer = new VectorQuantizer(5, 3);
    await randomise(quantizer, 1, 1);
    const [z, dy] = [noise([1, 2, 2, 3], 1), noise([1, 2, 2, 3], 3)];
    const dz = tf.grad((z) => quantizer.forward(z as tf.Tensor4D))(z, dy);
    expect([...dz.dataSync()]).toEqual([...dy.dataSync()]);
    tf.dispose([z, dy, dz]);
    quantizer.dispose();
  });

  test('the codebook loss moves the codes, the commitment loss the encoder, by 2 (a - b) / size', () => {
    const [z, codes] = [noise([1, 2, 2, 3], 1), noise([1, 2, 2, 3], 2)];
    const a = [...z.dataSync()];
    const b = [...codes.dataSync()];
    const meanSquare = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / 12;
    const slope = a.map((value, i) => (2 * (value - b[i]!)) / 12);
    const of = (loss: (z: tf.Tensor4D, codes: tf.Tensor4D) => tf.Scalar) => {
      const { value, grads } = tf.valueAndGrads((z: tf.Tensor, codes: tf.Tensor) =>
        loss(z as tf.Tensor4D, codes as tf.Tensor4D),
      )([z, codes]);
      const result = { value: value.dataSync()[0]!, dz: [...grads[0]!.dataSync()], dCodes: [...grads[1]!.dataSync()] };
      tf.dispose([value, grads]);
      return result;
    };
    const zero = slope.map(() => 0);
    const close = (got: number[], expected: number[]) => {
      got.forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i]!, 6);
      });
    };
    const codebook = of(codebookLoss);
    expect(codebook.value).toBeCloseTo(meanSquare, 5);
    close(codebook.dz, zero);
    close(
      codebook.dCodes,
      slope.map((s) => -s),
    );
    const commitment = of(commitmentLoss);
    close(commitment.dz, slope);
    close(commitment.dCodes, zero);
    const both = of((z, codes) => vqLoss(z, codes, { commitment: 0.5 }));
    expect(both.value).toBeCloseTo(1.5 * meanSquare, 5);
    close(
      both.dz,
      slope.map((s) => 0.5 * s),
    );
    close(
      both.dCodes,
      slope.map((s) => -s),
    );
    tf.dispose([z, codes]);
  });

  test('a dead code is put at a pixel of the last batch, those alive stay where they would be', async () => {
    const quantizer = new VectorQuantizer(3, 2);
    quantizer.init(0).embedding.weight.variable.assign(tf.tensor2d([0, 0, 1, 1, 50, 50], [3, 2]));
    const [plain, reviving] = [{}, { reviveBelow: 1 }].map(
      (options) => new EmaCodebook(quantizer, { decay: 0.5, epsilon: 1e-9, ...options }),
    );
    const z = tf.tensor4d([0, 0.1, 0.2, 0, 1, 0.9, 1.2, 1], [1, 2, 2, 2]); // No pixel is near the third code.
    const indices = quantizer.nearest(z);
    for (const codebook of [plain!, reviving!]) codebook.observe(z, indices);
    plain!.update();
    const table = [...quantizer.embedding.weight.value.dataSync()];
    expect(() => reviving!.update()).toThrow(/rng: expected a random stream/);
    const settled = tf.memory().numTensors;
    reviving!.update(new TorchGenerator(1));
    expect(tf.memory().numTensors).toBe(settled - 3); // what was observed: counts, sums and pixels
    const revived = [...quantizer.embedding.weight.value.dataSync()];
    const near = (a: number, b: number) => Math.abs(a - b) < 1e-5;
    expect(revived.slice(0, 4).every((value, i) => near(value, table[i]!))).toBe(true);
    const pixels = [...z.dataSync()];
    expect([0, 2, 4, 6].some((at) => near(pixels[at]!, revived[4]!) && near(pixels[at + 1]!, revived[5]!))).toBe(true);
    expect([...(await reviving!.save()).counts!.data][2]).toBe(1);
    expect(() => new EmaCodebook(quantizer, { reviveBelow: -1 })).toThrow(/reviveBelow/);
    plain!.dispose();
    reviving!.dispose();
    tf.dispose([z, indices]);
    quantizer.dispose();
  });

  test('the running codebook follows the recurrence of the paper, over two batches an update', async () => {
    const [K, D, gamma, epsilon] = [4, 2, 0.9, 1e-3];
    const quantizer = new VectorQuantizer(K, D);
    await randomise(quantizer, 1, 1);
    const start = [...quantizer.embedding.weight.value.dataSync()];
    const ema = new EmaCodebook(quantizer, { decay: gamma, epsilon });
    const N = Array<number>(K).fill(1);
    const m = [...start];
    const settled = tf.memory().numTensors + 2; // counts and sums, which begin with the first batch
    for (let step = 0; step < 3; step++) {
      const n = Array<number>(K).fill(0);
      const sum = Array<number>(K * D).fill(0);
      for (let batch = 0; batch < 2; batch++) {
        const z = noise([2, 2, 3, D], 10 + 2 * step + batch);
        const indices = quantizer.nearest(z);
        tf.tidy(() => ema.observe(z, indices));
        const data = z.dataSync();
        indices.dataSync().forEach((k, pixel) => {
          n[k]! += 1;
          for (let d = 0; d < D; d++) sum[k * D + d]! += data[pixel * D + d]!;
        });
        tf.dispose([z, indices]);
      }
      ema.update();
      expect(tf.memory().numTensors).toBe(settled);
      for (let k = 0; k < K; k++) N[k] = gamma * N[k]! + (1 - gamma) * n[k]!;
      for (let i = 0; i < K * D; i++) m[i] = gamma * m[i]! + (1 - gamma) * sum[i]!;
      const total = N.reduce((a, b) => a + b, 0);
      const table = quantizer.embedding.weight.value.dataSync();
      for (let i = 0; i < K * D; i++) {
        const smooth = ((N[Math.floor(i / D)]! + epsilon) / (total + K * epsilon)) * total;
        // float32 on our side, three updates.
        expect(table[i]).toBeCloseTo(m[i]! / smooth, 4);
      }
    }
    const saved = await ema.save();
    expect([...saved.counts!.data].map((x) => Math.round(x * 1e4))).toEqual(N.map((x) => Math.round(x * 1e4)));
    const other = new EmaCodebook(quantizer, { decay: gamma, epsilon });
    other.load(saved);
    expect([...(await other.save()).sums!.data]).toEqual([...saved.sums!.data]);
    expect(() => other.load({ counts: saved.counts! })).toThrow(WeightsMismatchError);
    expect(() => ema.update()).toThrow(MezzotintError);
    ema.dispose();
    other.dispose();
    quantizer.dispose();
    expect(tf.memory().numTensors).toBe(settled - 3);
  });

  test('the running means begin at the codes that were loaded after it was made', async () => {
    const quantizer = new VectorQuantizer(2, 1).init(1);
    const ema = new EmaCodebook(quantizer);
    await quantizer.load({ 'embedding.weight': { shape: [2, 1], data: new Float32Array([0, 100]) } });
    const z = tf.tensor4d([1, 1], [1, 1, 2, 1]);
    const indices = quantizer.nearest(z);
    ema.observe(z, indices);
    ema.update();
    const [near, far] = quantizer.embedding.weight.value.dataSync();
    expect(near).toBeCloseTo(0.02 / 1.01, 3); // (0.99 * 0 + 0.01 * 2) / (0.99 + 0.01 * 2)
    expect(far).toBeCloseTo(100, 1);
    tf.dispose([z, indices]);
    ema.dispose();
    quantizer.dispose();
  });

  test('codes that nothing chooses stay where they are', async () => {
    const quantizer = new VectorQuantizer(2, 1);
    await quantizer.load({ 'embedding.weight': { shape: [2, 1], data: new Float32Array([0, 100]) } });
    const ema = new EmaCodebook(quantizer);
    const rng = new TorchGenerator(1);
    for (let step = 0; step < 50; step++) {
      const z = tf.tensor4d(rng.randn(8), [2, 2, 2, 1]);
      const indices = quantizer.nearest(z);
      ema.observe(z, indices);
      ema.update();
      tf.dispose([z, indices]);
    }
    // 0.99^50 = 0.6 of the count is left, and epsilon is 1e-5 of that.
    expect(Math.abs(quantizer.embedding.weight.value.dataSync()[1]! / 100 - 1)).toBeLessThan(1e-3);
    ema.dispose();
    quantizer.dispose();
  });
});

describe('usage and refusals', () => {
  beforeEach(() => switchTo('cpu'));

  test('usage: all codes equally often have a perplexity of K, one code of 1', () => {
    expect(codebookUsage([0, 1, 2, 3, 3, 2, 1, 0], 4)).toEqual({ used: 4, perplexity: expect.closeTo(4, 10) });
    expect(codebookUsage(new Int32Array([2, 2, 2]), 4)).toEqual({ used: 1, perplexity: 1 });
    // Entropy of (1/2, 1/4, 1/4) is 1.5 ln 2.
    expect(codebookUsage([0, 0, 1, 5], 9).perplexity).toBeCloseTo(2 ** 1.5, 10);
    expect(() => codebookUsage([4], 4)).toThrow(InvalidArgumentError);
    expect(() => codebookUsage([], 4)).toThrow(InvalidArgumentError);
  });

  test('a latent image of another width, and rates out of range, are refused', () => {
    const quantizer = new VectorQuantizer(2, 3).init(0);
    expect(() => quantizer.nearest(noise([1, 2, 2, 4]))).toThrow(/expected \[N, h, w, 3\], got \[1,2,2,4\]/);
    expect(() => new EmaCodebook(quantizer, { decay: 1, epsilon: 0 })).toThrow(/decay: .*\n.*epsilon:/);
  });
});
