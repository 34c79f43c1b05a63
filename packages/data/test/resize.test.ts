import { describe, expect, test } from 'vitest';
import { type ResizeFilter, resize, resizeFloat } from '../src/index.js';
import pillow from './fixtures/pillow.json' with { type: 'json' };

/** The picture that the fixture describes. */
function noise(n: number, seed: number): Uint8Array {
  let s = seed;
  return Uint8Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s >>> 24;
  });
}

const { height, width } = pillow;
const rgb = { data: noise(height * width * 3, 1), height, width, channels: 3 as const };
const gray = { data: noise(height * width, 7), height, width, channels: 1 as const };
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

describe('resize', () => {
  // Pillow's result for bytes is defined in integers, so every byte must be the same.
  test.each(pillow.rgb)('equals Pillow 11: $filter to $height x $width', (golden) => {
    const out = resize(rgb, golden, golden.filter as ResizeFilter);
    expect(out.data).toEqual(bytesOf(golden.rgb));
    expect([out.height, out.width, out.channels]).toEqual([golden.height, golden.width, 3]);
  });

  test('treats a gray picture as one channel of a colour one', () => {
    const repeated = { ...rgb, data: Uint8Array.from(rgb.data, (_, i) => gray.data[Math.floor(i / 3)]!) };
    const size = { height: 9, width: 40 };
    const expected = resize(repeated, size, 'lanczos').data.filter((_, i) => i % 3 === 0);
    expect(resize(gray, size, 'lanczos').data).toEqual(expected);
  });

  test('a shrunk fine checkerboard is even gray: no aliasing', () => {
    const data = Uint8Array.from({ length: 64 * 64 }, (_, i) => ((i + (i >> 6)) % 2 === 0 ? 0 : 255));
    const out = resize({ data, height: 64, width: 64, channels: 1 }, { height: 13, width: 13 }, 'bicubic');
    // 64 / 13 input pixels fall under each output pixel; point sampling would give 0 or 255, the average is 127.5
    for (const value of out.data) expect(Math.abs(value - 127.5)).toBeLessThan(6);
  });

  test('gives a copy when the size stays', () => {
    const out = resize(rgb, { height, width });
    expect(out.data).toEqual(rgb.data);
    expect(out.data).not.toBe(rgb.data);
  });

  test('names every wrong argument at once', () => {
    expect(() => resize(rgb, { height: 0, width: 1.5 }, 'cubic' as ResizeFilter)).toThrow(
      /new height.*got 0\n.*new width.*got 1\.5\n.*box, bilinear, bicubic, lanczos, got cubic/,
    );
    expect(() => resize({ ...rgb, width: 30 }, { height: 1, width: 1 })).toThrow(/23 x 30 x 3 = 2070 bytes.*got 2139/);
  });
});

describe('resizeFloat', () => {
  const values = Float32Array.from(gray.data, (byte) => Math.fround(byte / Math.fround(127.5)) - 1);
  // Both sum in float64 and store float32 after each pass, so at most the last bit of values near 1 differs.
  test.each(pillow.float)('equals Pillow 11: $filter to $height x $width', (golden) => {
    const expected = new Float32Array(bytesOf(golden.float32).buffer);
    const out = resizeFloat({ data: values, height, width, channels: 1 }, golden, golden.filter as ResizeFilter);
    expect(out.data.length).toBe(expected.length);
    out.data.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThan(2.4e-7);
    });
  });

  test('does not clip', () => {
    const step = { data: Float32Array.of(0, 0, 1, 1), height: 1, width: 4, channels: 1 };
    const out = resizeFloat(step, { height: 1, width: 12 }, 'bicubic').data;
    expect(Math.min(...out)).toBeLessThan(-0.01); // the undershoot of a cubic beside an edge
    expect(Math.max(...out)).toBeGreaterThan(1.01);
  });

  test('refuses data of another size', () => {
    expect(() =>
      resizeFloat({ data: new Float32Array(5), height: 2, width: 2, channels: 1 }, { height: 1, width: 1 }),
    ).toThrow(/shape \[2, 2, 1\], got 5/);
  });
});
