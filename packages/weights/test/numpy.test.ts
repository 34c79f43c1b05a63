import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InvalidFileError } from '@mezzotint/core';
import { bytesSource, encodeNpy, encodeNpz, openNpy, openNpz } from '@mezzotint/weights';
import { readNpy, readNpz } from '@mezzotint/weights/node';
import { describe, expect, test } from 'vitest';

// Files written by NumPy 2.4 (fixtures/make.py); every value is exact in every type, so equality is exact.
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/numpy/${name}`, import.meta.url));
const a = Array.from({ length: 6 }, (_, k) => (k - 3) / 4);

test('statistics of a Fréchet distance keep double precision', async () => {
  const file = await readNpz(fixture('plain.npz'));
  expect([...file.tensors.keys()]).toEqual(['mu', 'sigma', 'count']);
  expect(await file.readFloat64('mu')).toEqual({ shape: [6], data: Float64Array.from(a) });
  expect(await file.readFloat64('sigma')).toEqual({
    shape: [6, 6],
    data: Float64Array.from(a.flatMap((x) => a.map((y) => x * y))),
  });
  expect(await file.readFloat64('count')).toEqual({ shape: [], data: Float64Array.of(50000) });
  expect((await file.read('count')).data).toEqual(Int32Array.of(50000));
  file.close();
});

test('compressed archives and column-major order', async () => {
  const file = await readNpz(fixture('packed.npz'));
  expect(await file.read('f4')).toEqual({ shape: [2, 3], data: Float32Array.from(a) });
  expect(await file.read('fortran')).toEqual({ shape: [2, 3], data: Float32Array.from(a) });
});

test('element types and byte orders', async () => {
  const file = await readNpz(fixture('dtypes.npz'));
  expect((await file.read('f2')).data).toEqual(Float32Array.from(a));
  expect((await file.read('big')).data).toEqual(Float32Array.from(a));
  expect((await file.read('i2')).data).toEqual(Int32Array.of(-5, 7));
  expect((await file.read('u1')).data).toEqual(Int32Array.of(0, 255));
  expect((await file.read('b')).data).toEqual(Int32Array.of(1, 0));
  expect(await file.read('empty')).toEqual({ shape: [0, 2], data: new Float32Array(0) });
  expect((await file.read('u8')).data).toEqual(Int32Array.of(7));
  expect((await file.readFloat64('i8')).data).toEqual(Float64Array.of(-1, 2 ** 40));
  await expect(file.read('i8')).rejects.toThrow('i8: element 1 is 1099511627776, which int32 cannot hold');
  await expect(file.read('none')).rejects.toThrow('holds no array named "none"');
});

test('a single array', async () => {
  const file = await readNpy(fixture('one.npy'));
  expect(await file.read('array')).toEqual({ shape: [3, 2], data: Float32Array.from(a) });
});

describe('damage', () => {
  test.each(['objects.npy', 'structured.npy'])('%s is refused', async (name) => {
    await expect(readNpy(fixture(name))).rejects.toThrow('only plain numbers are');
  });

  test('a shape that does not match the bytes', async () => {
    const text = readFileSync(fixture('one.npy')).toString('latin1').replace('(3, 2)', '(3, 9)');
    await expect(openNpy(bytesSource(Buffer.from(text, 'latin1')))).rejects.toThrow('takes 216 bytes, 48 are there');
  });

  test('a flipped bit in packed data is an error', async () => {
    const clean = readFileSync(fixture('packed.npz'));
    for (let at = 60; at < 120; at++) {
      const bytes = new Uint8Array(clean);
      bytes[at]! ^= 4;
      const read = async () => {
        const file = await openNpz(bytesSource(bytes));
        return file.read('f4');
      };
      await expect(read(), `bit in byte ${at}`).rejects.toThrow(InvalidFileError);
    }
  });

  test('an entry that claims to unpack beyond what deflate can', async () => {
    const bytes = new Uint8Array(readFileSync(fixture('packed.npz')));
    const directory = Buffer.from(bytes).indexOf('PK\x01\x02');
    new DataView(bytes.buffer).setUint32(directory + 24, 2 ** 31, true);
    await expect(openNpz(bytesSource(bytes))).rejects.toThrow(/claims to unpack \d+ bytes to 2147483648/);
  });
});

describe('writing', () => {
  test('what is written comes back in double precision', async () => {
    const sigma = Float64Array.from(a.flatMap((x) => a.map((y) => x * y + 1e-17)));
    const bytes = encodeNpz({
      mu: { shape: [6], data: Float64Array.from(a) },
      sigma: { shape: [6, 6], data: sigma },
      n: { shape: [], data: Int32Array.of(7) },
      image: { shape: [1, 2], data: Uint8Array.of(0, 255) },
    });
    const file = await openNpz(bytesSource(bytes));
    expect(await file.readFloat64('sigma')).toEqual({ shape: [6, 6], data: sigma });
    expect(await file.read('n')).toEqual({ shape: [], data: Int32Array.of(7) });
    expect(await file.read('image')).toEqual({ shape: [1, 2], data: Int32Array.of(0, 255) });
  });

  test('an .npy file has the bytes that NumPy writes', () => {
    expect(
      Buffer.from(encodeNpy({ shape: [3, 2], data: Float64Array.from(a) })).equals(readFileSync(fixture('one.npy'))),
    ).toBe(true);
  });
});
