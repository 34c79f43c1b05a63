import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InvalidFileError, TorchGenerator, type WeightSource } from '@mezzotint/core';
import { dequantized } from '@mezzotint/weights';
import { readSafetensors, readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, describe, expect, test } from 'vitest';

const path = (name: string) => fileURLToPath(new URL(`fixtures/quantized/${name}`, import.meta.url));

test('weights that other tools quantised are what those tools make of them', async () => {
  const file = await readWeights(path('stored.safetensors'));
  const expected = readSafetensors(path('wide.safetensors'));
  expect(new Set(file.tensors.keys())).toEqual(new Set(expected.tensors.keys()));
  for (const [name, { shape }] of expected.tensors) {
    const [ours, theirs] = [await file.read(name), expected.read(name)];
    expect(ours.shape, name).toEqual(shape);
    expect(file.tensors.get(name)?.shape, name).toEqual(shape);
    const most = Math.max(...theirs.data.map(Math.abs));
    const error = Math.max(...theirs.data.map((value, i) => Math.abs(value - ours.data[i]!)));
    // A product of float32 numbers, rounded once; the rotation adds 128 of them.
    expect(error / most, name).toBeLessThan(name.startsWith('convrot') ? 1e-6 : 1.2e-7);
    expect(await file.take!(name)).toMatchObject({ dtype: 'float32', shape });
  }
  file.close();
  expected.close();
});

test('it is counted what was stored how', async () => {
  const file = readSafetensors(path('stored.safetensors'));
  const { quantized } = await dequantized(file);
  expect(Object.fromEntries(quantized)).toEqual({
    'bitsandbytes 4 bits': 3,
    'scaled float8': 2,
    int8: 1,
    'int8 ConvRot': 2,
  });
  file.close();
});

test('a file that holds nothing quantised is shown as it is, also one with names like these', async () => {
  const source = fakeSource({ 'a.weight': ['F32', [2]], 'a.weight_scale': ['F32', [2]], 'b.input_scale': ['F32', []] });
  expect((await dequantized(source)).tensors).toBe(source.tensors);
});

describe('8 bits', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-int8-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const rng = new TorchGenerator(1);
  const weights = {
    'a.weight': { shape: [5, 3, 2, 2], data: rng.randn(60) },
    'a.bias': { shape: [5], data: rng.randn(5) },
    'b.weight': { shape: [2, 4], data: Float32Array.of(0, 0, 0, 0, 1e-3, -127, 63.4, 0.6) },
    'norm.weight': { shape: [4], data: rng.randn(4) },
  };

  test('what is written is read as the weights, off by half a step of its row', async () => {
    const path = join(folder, 'int8.safetensors');
    await writeSafetensors(path, weights, { dtype: 'I8' });
    const raw = readSafetensors(path);
    expect(Object.fromEntries([...raw.tensors].map(([name, { dtype }]) => [name, dtype]))).toEqual({
      ...{ 'a.weight': 'I8', 'a.weight_scale': 'F32', 'a.bias': 'F16' },
      ...{ 'b.weight': 'I8', 'b.weight_scale': 'F32', 'norm.weight': 'F16' },
    });
    raw.close();
    const file = await readWeights(path);
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(weights).sort());
    expect((await file.read('b.weight')).data).toEqual(Float32Array.of(0, 0, 0, 0, 0, -127, 63, 1));
    const { shape, data } = weights['a.weight'];
    const read = await file.read('a.weight');
    expect(read.shape).toEqual(shape);
    for (let row = 0; row < 5; row++) {
      const [own, others] = [data, read.data].map((all) => all.slice(12 * row, 12 * row + 12));
      const step = Math.max(...own!.map(Math.abs)) / 127;
      expect(Math.max(...own!.map((value, i) => Math.abs(value - others![i]!)))).toBeLessThan(step * 0.5001);
    }
    file.close();
  });

  test('numbers that no scale fits are refused by name, and two tensors of one name', async () => {
    const path = join(folder, 'none.safetensors');
    const broken = { 'a.weight': { shape: [1, 2], data: Float32Array.of(1, Number.NaN) } };
    await expect(writeSafetensors(path, broken, { dtype: 'I8' })).rejects.toThrow(/a\.weight: element 1 is NaN/);
    const twice = { ...weights, 'a.weight_scale': { shape: [1], data: Float32Array.of(1) } };
    await expect(writeSafetensors(path, twice, { dtype: 'I8' })).rejects.toThrow(/a\.weight_scale: two tensors/);
    expect(existsSync(path)).toBe(false);
  });
});

/** Tensors of given types and shapes; those of bytes hold the JSON that is given, all others zeros. */
function fakeSource(tensors: Record<string, [string, number[], unknown?]>): WeightSource {
  const bytes = (json: unknown) => new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));
  const shapeOf = ([, shape, json]: [string, number[], unknown?]) =>
    json === undefined ? shape : [bytes(json).length];
  return {
    name: 'made up',
    tensors: new Map(Object.entries(tensors).map(([name, t]) => [name, { dtype: t[0], shape: shapeOf(t) }])),
    read: (name) => {
      const t = tensors[name]!;
      const shape = shapeOf(t);
      const data = t[2] === undefined ? new Int32Array(shape.reduce((n, d) => n * d, 1)) : Int32Array.from(bytes(t[2]));
      return { shape, data };
    },
  };
}

describe('refused before anything of its size is allocated', () => {
  const nf4 = (state: unknown, more: Record<string, [string, number[], unknown?]> = {}) =>
    fakeSource({
      'w.weight': ['U8', [64, 1]],
      'w.weight.absmax': ['F32', [2]],
      'w.weight.quant_map': ['F32', [16]],
      'w.weight.quant_state.bitsandbytes__nf4': ['U8', [], state],
      ...more,
    });
  const right = { shape: [2, 64], blocksize: 64 };
  const int8 = (about: unknown, scale = [3], shape = [3, 64]) =>
    fakeSource({ 'w.weight': ['I8', shape], 'w.weight_scale': ['F32', scale], 'w.comfy_quant': ['U8', [], about] });
  test.each<[string, WeightSource, RegExp]>([
    ['no JSON', nf4('{'), /is not JSON/],
    ['no object', nf4('[1]'), /expected a JSON object/],
    ['no shape', nf4({ blocksize: 64 }), /expected a shape/],
    ['a shape of exabytes', nf4({ ...right, shape: [2 ** 40, 2 ** 40] }), /expected a shape/],
    ['more numbers than codes', nf4({ ...right, shape: [2, 640] }), /takes 640 bytes, w.weight has 64 of U8/],
    ['blocks of nothing', nf4({ ...right, blocksize: 0 }), /expected a blocksize/],
    ['too few scales', nf4({ ...right, blocksize: 32 }), /expected 4 numbers as w.weight.absmax, got 2/],
    ['half of nesting', nf4(right, { 'w.weight.nested_absmax': ['F32', [1]] }), /expected nested_blocksize/],
    ['an unknown format', int8({ format: 'nvfp4' }), /"nvfp4" is not read \(known: float8_e4m3fn/],
    ['a group that is no power of four', int8({ convrot: true, convrot_groupsize: 32 }), /power of 4/],
    ['a group that does not divide', int8({ convrot: true, convrot_groupsize: 256 }), /divides \[3,64\], got 256/],
    ['scales of other rows', int8({ format: 'int8_tensorwise' }, [4]), /1 scale or one a row of \[3,64\], got 4/],
  ])('%s', async (_, source, message) => {
    const opened = dequantized(source);
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toSatisfy((error) => InvalidFileError.isInstance(error));
  });

  test('a description of megabytes', async () => {
    const source = fakeSource({
      'w.weight': ['I8', [3, 4]],
      'w.weight_scale': ['F32', [3]],
      'w.comfy_quant': ['U8', [2 ** 30]],
    });
    await expect(dequantized(source)).rejects.toThrow(/JSON in at most 65536 bytes/);
  });
});
