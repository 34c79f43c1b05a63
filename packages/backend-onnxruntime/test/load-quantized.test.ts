import { loadQuantized, type OnnxRuntimeBackend, quantize } from '@mezzotint/backend-onnxruntime';
import {
  type BlockTensor,
  blockBoundary,
  type HalfType,
  Module,
  type StateDict,
  type StoredTensor,
  type WeightSource,
} from '@mezzotint/core';
import { Conv2d, Linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { decode16, encode16, storedBlocks, widen } from '../src/memory/narrow.js';
import { normals } from './against-cpu.js';

beforeAll(async () => {
  await tf.setBackend('onnxruntime');
});

/** Filters of every kind that the engine keeps in another order (blocks, few inputs, few outputs), and a matrix. */
class Net extends Module {
  readonly first = new Conv2d(3, 32, 3);
  readonly middle = new Conv2d(32, 48, 3, { stride: 2 });
  readonly last = new Conv2d(48, 4, 3);
  readonly linear = new Linear(64, 32);
  forward(x: tf.Tensor4D): tf.Tensor {
    return tf.tidy(() => {
      const h = this.last.forward(this.middle.forward(this.first.forward(x))); // [N, 4, 4, 4]
      return this.linear.forward(tf.reshape(h, [x.shape[0], 64]));
    });
  }
}

/** A file with 16-bit floats: what it holds, and how each tensor was asked for. */
function halfFile(state: StateDict, type: HalfType) {
  const asked: string[] = [];
  const given = new Map<string, StoredTensor>();
  const halves = Object.fromEntries(
    Object.entries(state).map(([name, { data }]) => [name, encode16(data as Float32Array, type)]),
  );
  const read = (name: string) => ({ shape: state[name]!.shape, data: decode16(halves[name]!, type) });
  const source: WeightSource = {
    name: 'half file',
    tensors: new Map(Object.entries(state).map(([name, { shape }]) => [name, { shape, dtype: type }])),
    read: (name) => {
      asked.push(`read ${name}`);
      return read(name);
    },
    take: (name, keep = []) => {
      asked.push(`take ${name}`);
      const tensor: StoredTensor = keep.includes(type)
        ? { shape: state[name]!.shape, dtype: type, data: halves[name]!.slice() }
        : { ...read(name), dtype: 'float32' };
      given.set(name, tensor);
      return tensor;
    },
  };
  return { source, asked, given };
}

const image = () => normals([2, 8, 8, 3]) as tf.Tensor4D;

describe('load', () => {
  test('keeps the arrays that a file gives away, in the order of the file, and computes the same', async () => {
    const state = await new Net().init(3).save();
    const { source, asked, given } = halfFile(state, 'float16');
    const adopting = await new Net().load(source);
    const copying = await new Net().load({ ...source, take: undefined } as unknown as WeightSource);
    expect(asked.slice(0, 8).every((call) => call.startsWith('take'))).toBe(true);
    // The very array: who writes into it, against the rules, changes the weight.
    const { data } = given.get('linear.weight')!;
    data[0]! += 1;
    expect(adopting.linear.weight.variable.dataSync()[0]).toBe(data[0]);
    data[0]! -= 1;
    const x = image();
    expect(adopting.forward(x).dataSync()).toEqual(copying.forward(x).dataSync());
    // After the forward pass, filters lie in blocks.
    expect(await adopting.save()).toEqual(await copying.save());
    for (const model of [adopting, copying]) model.dispose();
  });

  test('a state dict stays its maker’s', async () => {
    const state = await new Net().init(3).save();
    const model = await new Net().load(state);
    const before = model.linear.weight.variable.dataSync().slice();
    (state['linear.weight']!.data as Float32Array).fill(0);
    expect(model.linear.weight.variable.dataSync()).toEqual(before);
    model.dispose();
  });
});

describe('loadQuantized', () => {
  test.each(['float16', 'bfloat16'] as const)('%s of a file are taken as they are', async (type) => {
    const state = await new Net().init(3).save();
    const { source, asked, given } = halfFile(state, type);
    const model = new Net();
    const report = await loadQuantized(model, source, { weights: type });
    expect(asked.every((call) => call.startsWith('take'))).toBe(true);
    expect([...given.values()].every(({ dtype }) => dtype === type)).toBe(true);
    expect(report.bytesAfter).toBe(report.bytesBefore / 2);
    expect(report.quantized).toEqual([...model.params().keys()]);
    // The file's numbers are exact in 16 bits, so nothing is lost against the widened file.
    const wide = await new Net().load(source);
    const x = image();
    const y = model.forward(x).dataSync();
    const expected = wide.forward(x).dataSync();
    for (let i = 0; i < y.length; i++) expect(y[i]).toBeCloseTo(expected[i]!, 5);
    expect(await model.save()).toEqual(await wide.save());
    for (const one of [model, wide]) one.dispose();
  });

  test.each(['float16', 'bfloat16', 'int8', 'int4'] as const)('%s: as quantizing after loading', async (weights) => {
    const state = await new Net().init(3).save();
    for (const source of [state, halfFile(state, 'bfloat16').source]) {
      const narrow = new Net();
      const report = await loadQuantized(narrow, source, { weights });
      const later = await new Net().load(source);
      expect(quantize(later, { weights })).toEqual(report);
      const x = image();
      expect(narrow.forward(x).dataSync()).toEqual(later.forward(x).dataSync());
      for (const one of [narrow, later]) one.dispose();
    }
  });

  test('what is not selected stays float32, also when the file holds 16 bits', async () => {
    const { source } = halfFile(await new Net().init(3).save(), 'float16');
    const model = new Net();
    const select = (path: string) => path !== 'linear.weight';
    const report = await loadQuantized(model, source, { weights: 'float16', select });
    expect(report.quantized).not.toContain('linear.weight');
    expect(report.bytesAfter).toBe(report.bytesBefore / 2 + 64 * 32 * 2);
    model.dispose();
  });

  test('the float32 numbers that were read are not kept for later results', async () => {
    const state = await new Net().init(3).save();
    const { pooledBytes } = (tf.backend() as OnnxRuntimeBackend).statistics();
    const model = new Net();
    await loadQuantized(model, halfFile(state, 'bfloat16').source, { weights: 'float16' });
    expect((tf.backend() as OnnxRuntimeBackend).statistics().pooledBytes).toBe(pooledBytes);
    model.dispose();
  });

  test('arrays that a file gave away are not kept for later results when they are freed', async () => {
    const state = await new Net().init(3).save();
    const { source } = halfFile(state, 'float16');
    const model = await new Net().load({
      ...source,
      take: (name) => ({ ...source.take!(name), dtype: 'float32' }) as StoredTensor,
    });
    const { pooledBytes } = (tf.backend() as OnnxRuntimeBackend).statistics();
    model.dispose();
    expect((tf.backend() as OnnxRuntimeBackend).statistics().pooledBytes).toBe(pooledBytes);
  });

  test('says what is wrong before anything is read', async () => {
    const { source, asked } = halfFile(await new Net().init(3).save(), 'float16');
    await expect(loadQuantized(new Net(), source, { weights: 'int8', block: 24 })).rejects.toThrow(
      /loadQuantized.*block.*24/s,
    );
    expect(asked).toEqual([]);
  });

  test('weights that the format cannot hold are all named, and the model is as it was', async () => {
    const state = await new Net().init(3).save();
    const model = await new Net().load(state);
    const large = { ...state };
    for (const name of ['first.weight', 'linear.weight']) {
      const { shape, data } = state[name]!;
      large[name] = { shape, data: Float32Array.from(data).fill(7e4, 0, 1) };
    }
    const before = tf.memory();
    const loading = loadQuantized(model, large, { weights: 'float16' });
    await expect(loading).rejects.toThrow(/first\.weight: .*got 70000; use bfloat16.*linear\.weight: .*got 70000/s);
    expect(tf.memory()).toEqual(before);
    expect(await model.save()).toEqual(state);
    model.dispose();
  });
});

/** A matrix in blocks of 32, drawn. */
function drawnBlocks(rows: number, columns: number, dtype: BlockTensor['dtype']): BlockTensor {
  const codes = normals([dtype === 'q4_0' ? (rows * columns) / 2 : rows * columns]).dataSync();
  const scales = normals([(rows * columns) / 32]).dataSync<'float32'>();
  return {
    shape: [rows, columns],
    dtype,
    data: Uint8Array.from(codes, (value) => Math.abs(Math.round(value * 1000)) % 256),
    scales: encode16(
      scales.map((value) => value / 100),
      'float16',
    ),
  };
}

describe('matrices in blocks', () => {
  test.each(['q4_0', 'q8_0'] as const)('%s of a file is multiplied with as it is', async (dtype) => {
    const blocks = drawnBlocks(48, 64, dtype);
    const bits = dtype === 'q4_0' ? 4 : 8;
    const wide = widen(storedBlocks(blocks.data, blocks.scales, bits));
    const bias = { shape: [48], data: Float32Array.from({ length: 48 }, (_, i) => i) };
    const source: WeightSource = {
      name: 'blocks',
      tensors: new Map([
        ['weight', { shape: [48, 64], dtype: 'Q' }],
        ['bias', { shape: [48], dtype: 'F32' }],
      ]),
      read: (name) => (name === 'bias' ? bias : { shape: [48, 64], data: wide }),
      take: (name, keep = []) =>
        name === 'weight' && keep.includes(dtype)
          ? blocks
          : ({ ...source.read(name), dtype: 'float32' } as StoredTensor),
    };
    const plain = await new Linear(64, 48).load({ weight: { shape: [48, 64], data: wide }, bias });
    const x = normals([5, 64]) as tf.Tensor2D;
    const expected = plain.forward(x).dataSync();
    for (const weights of ['stored', bits === 4 ? 'int4' : 'int8'] as const) {
      const model = new Linear(64, 48);
      const report = await loadQuantized(model, source, { weights });
      expect(report.quantized).toEqual(['weight']);
      expect(report.bytesAfter).toBe(blocks.data.byteLength + blocks.scales.byteLength + 4 * 48);
      const got = model.forward(x).dataSync();
      // The same numbers, multiplied in another order.
      expect(Math.max(...got.map((value, i) => Math.abs(value - expected[i]!)))).toBeLessThan(1e-4);
      expect(model.weight.value.dataSync()).toEqual(wide);
      model.dispose();
    }
    plain.dispose();
  });

  test('what a program of fed codes computed with is given back to the system', async () => {
    const blocks = drawnBlocks(4096, 256, 'q4_0');
    const source: WeightSource = {
      name: 'blocks',
      tensors: new Map([['weight', { shape: [4096, 256], dtype: 'Q4_0' }]]),
      read: () => ({ shape: [4096, 256], data: widen(storedBlocks(blocks.data, blocks.scales, 4)) }),
      take: () => blocks,
    };
    const model = new Linear(256, 4096, { bias: false });
    await loadQuantized(model, source, { weights: 'stored' });
    const x = tf.ones([4096, 256]) as tf.Tensor2D;
    const before = process.memoryUsage.rss();
    // Two intermediate values of 67 MB, which an arena would keep, and a result of one number.
    const sum = tf.tidy(() => tf.sum(tf.tanh(model.forward(x))));
    expect(Number.isFinite(sum.dataSync()[0])).toBe(true);
    expect(process.memoryUsage.rss() - before).toBeLessThan(40e6);
    tf.dispose([x, sum]);
    model.dispose();
  });

  test('layers that are alike share one program, whatever the depth', async () => {
    const engine = tf.backend() as OnnxRuntimeBackend;
    const compiled = (depth: number) => {
      const blocks = Array.from({ length: depth }, (_, i) => new Linear(2048, 2048).init(i));
      const before = engine.statistics().compiled;
      const y = tf.tidy(() => {
        let x = tf.ones([2, 2048]) as tf.Tensor2D;
        for (const block of blocks) {
          x = tf.tanh(block.forward(x));
          expect(blockBoundary(block)).toBe(true);
        }
        return x;
      });
      y.dataSync();
      y.dispose();
      for (const block of blocks) block.dispose();
      return engine.statistics().compiled - before;
    };
    const [two, four] = [compiled(2), compiled(4)];
    expect(two).toBeLessThanOrEqual(2);
    expect(four).toBe(0);
  });
});
