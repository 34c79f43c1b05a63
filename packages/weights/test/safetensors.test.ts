import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, MezzotintError } from '@mezzotint/core';
import { blobSource, bytesSource, openSafetensors, openSafetensorsSync } from '@mezzotint/weights';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mezzotint-weights-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file of the given header text and data, with nothing corrected. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}

const open = (bytes: Uint8Array) => openSafetensorsSync(bytesSource(bytes, 'x.safetensors'));
const one = (dtype: string, shape: number[], data: Uint8Array) =>
  open(file({ t: { dtype, shape, data_offsets: [0, data.length] } }, data)).read('t');

describe('reading', () => {
  test('a file written by the reference library', () => {
    // Bytes of safetensors.torch.save({'b': [[1, 2], [3, -4]] float32, 'a': int32 scalar 7}, {'k': 'v'}) (safetensors 0.5).
    const header =
      '{"__metadata__":{"k":"v"},"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[4,20]}}  ';
    const data = new Uint8Array(20);
    new Int32Array(data.buffer, 0, 1)[0] = 7;
    new Float32Array(data.buffer, 4, 4).set([1, 2, 3, -4]);
    const source = open(file(header, data));
    expect([...source.tensors.keys()]).toEqual(['a', 'b']);
    expect(source.metadata).toEqual(new Map([['k', 'v']]));
    expect(source.read('a')).toEqual({ shape: [], data: Int32Array.of(7) });
    expect(source.read('b')).toEqual({ shape: [2, 2], data: Float32Array.of(1, 2, 3, -4) });
    expect(() => source.read('c')).toThrow('holds no tensor named "c"');
  });

  test('tensors out of order, of no elements, and not aligned to their type', () => {
    const data = new Uint8Array(5);
    data[0] = 1;
    new DataView(data.buffer).setFloat32(1, 1.5, true);
    const source = open(
      file(
        {
          f: { dtype: 'F32', shape: [1], data_offsets: [1, 5] },
          none: { dtype: 'F32', shape: [3, 0], data_offsets: [1, 1] },
          u: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
        },
        data,
      ),
    );
    expect(source.read('f').data).toEqual(Float32Array.of(1.5));
    expect(source.read('none')).toEqual({ shape: [3, 0], data: new Float32Array(0) });
    expect(source.read('u').data).toEqual(Int32Array.of(1));
  });

  test('a Blob gives the same as the bytes', async () => {
    const bytes = file({ t: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, new Uint8Array(8).fill(1));
    const source = await openSafetensors(blobSource(new Blob([new Uint8Array(bytes)])));
    expect(await source.read('t')).toEqual(open(bytes).read('t'));
  });

  test('a name such as __proto__ is a name like any other', () => {
    const source = open(file('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', Uint8Array.of(3)));
    expect(source.read('__proto__').data).toEqual(Int32Array.of(3));
  });
});

describe('numbers', () => {
  const le16 = (...codes: number[]) => new Uint8Array(Uint16Array.from(codes).buffer);

  test('every float16 is the float32 of IEEE 754', () => {
    // The definition, spelled out: exact in float32, so equality is exact.
    const expected = (code: number) => {
      const sign = code >> 15 ? -1 : 1;
      const exponent = (code >> 10) & 31;
      const fraction = code & 1023;
      if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
      return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    };
    const codes = Array.from({ length: 65536 }, (_, i) => i);
    expect(one('F16', [65536], le16(...codes)).data).toEqual(Float32Array.from(codes, expected));
  });

  test('bfloat16, with subnormals, infinities and NaN', () => {
    const { data } = one('BF16', [6], le16(0x3f80, 0xc040, 0x0001, 0x7f80, 0xff80, 0x7fc1));
    expect(data).toEqual(Float32Array.of(1, -3, 2 ** -133, Infinity, -Infinity, NaN));
  });

  test('8-bit floats: the tables of Micikevicius et al. 2022', () => {
    // Largest normal, smallest normal, largest and smallest subnormal of each, and the specials.
    expect(one('F8_E4M3', [8], Uint8Array.of(0x7e, 0x08, 0x07, 0x01, 0x7f, 0xff, 0x80, 0xb8)).data).toEqual(
      Float32Array.of(448, 2 ** -6, 0.875 * 2 ** -6, 2 ** -9, NaN, NaN, -0, -1),
    );
    expect(one('F8_E5M2', [8], Uint8Array.of(0x7b, 0x04, 0x03, 0x01, 0x7c, 0xfc, 0x7d, 0xbc)).data).toEqual(
      Float32Array.of(57344, 2 ** -14, 0.75 * 2 ** -14, 2 ** -16, Infinity, -Infinity, NaN, -1),
    );
  });

  test('float64 is rounded to the nearest float32, ties to even', () => {
    const values = [1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e300, -0];
    expect(one('F64', [4], new Uint8Array(Float64Array.from(values).buffer)).data).toEqual(
      Float32Array.of(1, 1 + 2 ** -22, Infinity, -0),
    );
  });

  test('integers widen to int32, and those beyond it are refused by value', () => {
    const i64 = (...values: bigint[]) => new Uint8Array(BigInt64Array.from(values).buffer);
    expect(one('I64', [3], i64(-1n, 2147483647n, -2147483648n)).data).toEqual(
      Int32Array.of(-1, 2147483647, -2147483648),
    );
    expect(() => one('I64', [2], i64(0n, 2147483648n))).toThrow('t: element 1 is 2147483648, which int32 cannot hold');
    expect(() => one('I64', [1], i64(-(2n ** 63n)))).toThrow(String(-(2n ** 63n)));
    expect(() => one('U64', [1], i64(-1n))).toThrow(String(2n ** 64n - 1n));
    expect(() => one('U32', [1], Uint8Array.of(255, 255, 255, 255))).toThrow('4294967295');
    expect(one('I8', [2], Uint8Array.of(255, 127)).data).toEqual(Int32Array.of(-1, 127));
    expect(one('I16', [1], le16(0x8000)).data).toEqual(Int32Array.of(-32768));
    expect(one('U16', [1], le16(0x8000)).data).toEqual(Int32Array.of(32768));
    expect(one('BOOL', [2], Uint8Array.of(0, 1)).data).toEqual(Int32Array.of(0, 1));
    expect(() => one('BOOL', [1], Uint8Array.of(2))).toThrow('is 2, expected 0 or 1');
  });
});

describe('damaged files', () => {
  const entry = (shape: unknown, offsets: unknown, dtype: unknown = 'F32') => ({
    t: { dtype, shape, data_offsets: offsets },
  });
  const four = new Uint8Array(4);
  const huge = new Uint8Array(10);
  new DataView(huge.buffer).setBigUint64(0, 2n ** 60n, true);

  test.each<[string, Uint8Array, string]>([
    ['empty', new Uint8Array(0), 'it has 0 bytes'],
    ['a header longer than the file', huge, 'the header claims 1152921504606846976 bytes, 2 are there'],
    ['not JSON', file('{"a":'), 'not JSON'],
    ['not UTF-8', file('{"\u00ff"}').fill(0xff, 9, 12), 'not UTF-8'],
    ['not an object', file('[1]'), 'not a JSON object'],
    ['the same name twice', file('{"a":1,"a":2}'), 'the key "a" is there twice'],
    ['deep nesting', file(`${'['.repeat(9999)}`), 'nested deeper than 64'],
    ['an unknown dtype', file(entry([1], [0, 4], 'F99'), four), 'the dtype "F99" cannot be read'],
    ['a dtype from the prototype', file(entry([1], [0, 4], 'toString'), four), 'the dtype "toString" cannot be read'],
    ['a missing field', file('{"t":{"dtype":"F32","shape":[1]}}', four), 'data_offsets nothing'],
    ['a fraction', file(entry([1.5], [0, 4]), four), 'not a list of whole numbers'],
    ['a negative dimension', file(entry([-1], [0, 4]), four), 'not a list of whole numbers'],
    [
      'an unsafe dimension',
      file('{"t":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', four),
      'whole',
    ],
    ['a product that overflows', file(entry([2 ** 30, 2 ** 30], [0, 4]), four), 'is too large'],
    [
      'a shape that does not match the bytes',
      file(entry([2], [0, 4]), four),
      'takes 8 bytes, the data_offsets [0,4] hold 4',
    ],
    ['offsets that run backwards', file(entry([1], [4, 0]), four), 'hold -4'],
    ['offsets outside the file', file(entry([2], [0, 8]), four), 'lie outside the 4 bytes'],
    ['metadata that is not strings', file('{"__metadata__":{"a":1}}'), '"a" is not a string'],
    ['bytes after the last tensor', file(entry([1], [0, 4]), new Uint8Array(5)), '1 bytes after the last tensor'],
    ['a hole', file(entry([1], [4, 8]), new Uint8Array(8)), '4 bytes before "t" belong to no tensor'],
  ])('%s', (_, bytes, problem) => {
    expect(() => open(bytes)).toThrow(InvalidFileError);
    expect(() => open(bytes)).toThrow(problem);
  });

  test('overlapping tensors', () => {
    const header = {
      a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
      b: { dtype: 'F32', shape: [2], data_offsets: [4, 12] },
    };
    expect(() => open(file(header, new Uint8Array(12)))).toThrow('"b" overlaps the tensor before it by 4 bytes');
  });

  test('all problems are named at once', () => {
    const header = { a: { dtype: '?', shape: [], data_offsets: [0, 0] }, b: 7 };
    expect(() => open(file(header))).toThrow(/"a": the dtype.*; "b": expected an object/);
  });

  test('missing files, folders and files cut while open', () => {
    expect(() => readSafetensors(join(folder, 'none'))).toThrow('no such file');
    expect(() => readSafetensors(folder)).toThrow('is a folder; expected a plain file');
    const path = join(folder, 'cut.safetensors');
    writeFileSync(path, file(entry([64], [0, 256]), new Uint8Array(256)));
    const source = readSafetensors(path);
    writeFileSync(path, file(entry([64], [0, 256])));
    expect(() => source.read('t')).toThrow('was the file changed');
    source.close();
    source.close();
    expect(() => source.read('t')).toThrow(MezzotintError);
  });
});

describe('writing', () => {
  const state = {
    w: { shape: [2, 2], data: Float32Array.of(1, -2, NaN, 2 ** -140) },
    '10': { shape: [], data: Float32Array.of(0.5) },
    ids: { shape: [3], data: Int32Array.of(1, -2, 3) },
    none: { shape: [0], data: new Float32Array(0) },
  };

  test('what is written comes back to the bit, in an aligned file, floats first, with sorted names', async () => {
    const path = join(folder, 'round.safetensors');
    await writeSafetensors(path, state, { metadata: { b: '2', a: 'ü' } });
    const source = readSafetensors(path);
    expect([...source.tensors.keys()]).toEqual(['10', 'none', 'w', 'ids']);
    expect([...source.metadata]).toEqual([
      ['a', 'ü'],
      ['b', '2'],
    ]);
    for (const [name, tensor] of Object.entries(state)) expect(source.read(name)).toEqual(tensor);
    source.close();
    expect(readFileSync(path).readBigUInt64LE(0) % 8n).toBe(0n);
  });

  test('the bytes are those of the reference writer', async () => {
    // The header that safetensors 0.8.0 (Python) writes for these tensors; its integers come after its floats.
    const header =
      '{"__metadata__":{"format":"pt"},"10":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b.f":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"é\\"\\\\/\\u0001":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},"a.i":{"dtype":"I32","shape":[2],"data_offsets":[20,28]}}';
    const path = join(folder, 'reference.safetensors');
    await writeSafetensors(
      path,
      {
        'a.i': { shape: [2], data: Int32Array.of(3, 4) },
        'é"\\/\u0001': { shape: [1], data: Float32Array.of(1) },
        'b.f': { shape: [2], data: Float32Array.of(1, 2) },
        '10': { shape: [2], data: Float32Array.of(5, 6) },
      },
      { metadata: { format: 'pt' } },
    );
    const bytes = readFileSync(path);
    expect(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))).trimEnd()).toBe(header);
    expect([...new Float32Array(new Uint8Array(bytes.subarray(-28, -8)).buffer)]).toEqual([5, 6, 1, 2, 1]);
  });

  test('equal tensors in another order give equal bytes', async () => {
    const [a, b] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')];
    await writeSafetensors(a, state, { metadata: { x: '1', y: '2' } });
    await writeSafetensors(b, Object.fromEntries(Object.entries(state).reverse()), { metadata: { y: '2', x: '1' } });
    expect(readFileSync(a).equals(readFileSync(b))).toBe(true);
  });

  test('from a source, in half precision, with integers kept', async () => {
    const [a, b] = [join(folder, 'full.safetensors'), join(folder, 'half.safetensors')];
    await writeSafetensors(a, state);
    const full = readSafetensors(a);
    await writeSafetensors(b, full, { dtype: 'BF16' });
    const half = readSafetensors(b);
    expect(half.tensors.get('w')?.dtype).toBe('BF16');
    expect(half.read('w').data).toEqual(Float32Array.of(1, -2, NaN, 0)); // 2^-140 is below half of bfloat16's smallest, 2^-133
    expect(half.read('ids')).toEqual(state.ids);
    full.close();
    half.close();
  });

  test.each(['F16', 'BF16'] as const)('every %s but NaN survives widening and narrowing', async (dtype) => {
    const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
    const codes = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((code) => (code & 0x7fff) <= infinity);
    const path = join(folder, `${dtype}.safetensors`);
    await writeSafetensors(path, { t: one(dtype, [codes.length], new Uint8Array(codes.buffer)) }, { dtype });
    const data = readFileSync(path).subarray(-2 * codes.length);
    expect(new Uint16Array(new Uint8Array(data).buffer)).toEqual(codes);
  });

  test('rounding to half precision is to nearest, ties to even', async () => {
    const path = join(folder, 'ties.safetensors');
    // Between 1 and 1 + 2^-10; a subnormal tie (1.5 units of 2^-24 -> 2), one just under the tie (2^-25 -> 0), the largest.
    const values = [
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      1 + 2 ** -11 + 2 ** -20,
      1.5 * 2 ** -24,
      2 ** -25,
      1.01 * 2 ** -25,
      65519,
    ];
    await writeSafetensors(path, { t: { shape: [7], data: Float32Array.from(values) } }, { dtype: 'F16' });
    expect(readSafetensors(path).read('t').data).toEqual(
      Float32Array.of(1, 1 + 2 ** -9, 1 + 2 ** -10, 2 ** -23, 0, 2 ** -24, 65504),
    );
    await expect(
      writeSafetensors(path, { t: { shape: [1], data: Float32Array.of(65520) } }, { dtype: 'F16', overwrite: true }),
    ).rejects.toThrow('t: element 0 is 65520, which F16 cannot hold; write it as F32');
    expect(readSafetensors(path).read('t').shape).toEqual([7]); // the old file is still there
  });

  test('an existing file is kept unless overwriting is allowed, and no temporary file stays', async () => {
    const inside = mkdtempSync(join(folder, 'keep-'));
    const path = join(inside, 'm.safetensors');
    await writeSafetensors(path, state);
    await expect(writeSafetensors(path, {})).rejects.toThrow(InvalidArgumentError);
    expect(readSafetensors(path).tensors.size).toBe(4);
    await writeSafetensors(path, {}, { overwrite: true });
    expect(readSafetensors(path).tensors.size).toBe(0);
    await expect(writeSafetensors(join(inside, 'no', 'm'), state)).rejects.toThrow('the folder does not exist');
    expect(readdirSync(inside)).toEqual(['m.safetensors']);
  });

  test('names, shapes and data that cannot be written are refused before a file exists', async () => {
    const path = join(folder, 'never.safetensors');
    const bad = { __metadata__: state.w, '\ud800': state.w };
    await expect(writeSafetensors(path, bad)).rejects.toThrow(/cannot be named __metadata__[\s\S]*not valid Unicode/);
    await expect(writeSafetensors(path, { t: { shape: [3], data: new Float32Array(2) } })).rejects.toThrow(
      'the shape [3] has 3 elements, the data 2',
    );
    expect(existsSync(path)).toBe(false);
  });
});
