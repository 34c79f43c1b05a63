import '@tensorflow/tfjs-backend-cpu';
import { expect, test } from 'vitest';
import { type HostTensor, InvalidFileError, Module, notFinite, Param, type StateDict, zeros } from '../src/index.js';

test('floats of 32 and 16 bits, wherever the number is', () => {
  for (const length of [1, 3, 4, 5, 8, 1001]) {
    for (const at of new Set([0, length >> 1, length - 1])) {
      for (const value of [Number.NaN, Infinity, -Infinity]) {
        const data = new Float32Array(length).fill(-3.4e38);
        expect(notFinite({ data })).toBeUndefined();
        data[at] = value;
        expect(notFinite({ data })).toBe(`1 of ${length} numbers is not finite; number ${at} is ${value}`);
      }
      // [dtype, largest finite, infinity, -infinity, a NaN]
      for (const [dtype, largest, up, down, nan] of [
        ['float16', 0x7bff, 0x7c00, 0xfc00, 0xfe01],
        ['bfloat16', 0xff7f, 0x7f80, 0xff80, 0x7fc0],
      ] as const) {
        const data = new Uint16Array(length).fill(largest);
        expect(notFinite({ data, dtype })).toBeUndefined();
        for (const [bits, value] of [
          [up, Infinity],
          [down, -Infinity],
          [nan, Number.NaN],
        ] as const) {
          data[at] = bits;
          expect(notFinite({ data, dtype })).toBe(`1 of ${length} numbers is not finite; number ${at} is ${value}`);
        }
      }
    }
  }
  expect(notFinite({ data: Int32Array.of(2 ** 31 - 1) })).toBeUndefined();
});

class Two extends Module {
  readonly a = new Param([2], { init: zeros });
  readonly b = new Param([3], { init: zeros });
}

test('weights with such numbers are not loaded; the error names file and tensor, and nothing is changed', async () => {
  const model = new Two().init(0);
  const good: StateDict = {
    a: { shape: [2], data: Float32Array.of(1, 2) },
    b: { shape: [3], data: Float32Array.of(3, 4, 5) },
  };
  await model.load(good);
  const bad: HostTensor = { shape: [3], data: Float32Array.of(3, Number.NaN, -Infinity) };
  const source = {
    name: 'model.safetensors',
    tensors: new Map(Object.entries(good).map(([name, { shape }]) => [name, { shape, dtype: 'F32' }])),
    read: (name: string) => (name === 'b' ? bad : good[name]!),
  };
  await expect(model.load(source)).rejects.toThrow(InvalidFileError);
  await expect(model.load(source)).rejects.toThrow(
    /^model\.safetensors: b: 2 of 3 numbers are not finite; number 1 is NaN: the file is damaged/,
  );
  expect(await model.save()).toEqual(good);
});
