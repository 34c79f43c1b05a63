import type { Bitmap } from '@mezzotint/data/pixels';
import { describe, expect, test } from 'vitest';
import { type Pipeline, upscale, upscaleRows } from '../src/index.js';
import type { RunHooks } from '../src/run-pipeline.js';

/** A "model" that repeats each pixel twice and adds the noise that it is given, so that tiles can be told apart. */
function repeating({ unit = 4, noise: strength = 0 } = {}) {
  const seen: { height: number; width: number }[] = [];
  const pipeline = {
    family: 'repeat',
    description: 'repeats pixels',
    upscaling: { factor: 2, unit, size: 8 },
    async generate({ image }: { image: Bitmap }, { noise }: RunHooks) {
      const { data, height, width, channels } = image;
      seen.push({ height, width });
      const z = noise!({ settings: {} as never, images: [] }).draw([1, 2 * height, 2 * width, channels], 1, 0);
      const large = Uint8Array.from({ length: 4 * height * width * channels }, (_, i) => {
        const [c, x, y] = [i % channels, Math.floor(i / channels) % (2 * width), Math.floor(i / channels / 2 / width)];
        return data[(Math.floor(y / 2) * width + Math.floor(x / 2)) * channels + c]! + Math.round(strength * z[i]!);
      });
      return { images: [{ data: large, height: 2 * height, width: 2 * width, channels, job: {} }] };
    },
  } as unknown as Pipeline;
  return { pipeline, seen };
}

/** A picture in which every pixel differs from its neighbours. */
function picture(height: number, width: number): Bitmap {
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => 60 + ((i * 37) % 120));
  return { data, height, width, channels: 3 };
}

describe('enlarging in tiles', () => {
  test.each([
    ['several tiles each way', 30, 21],
    ['one tile', 8, 8],
    ['less than a tile, not in whole units', 5, 7],
    ['a row of tiles', 6, 40],
  ])('%s: every pixel is at its place', async (_, height, width) => {
    const { pipeline, seen } = repeating();
    const small = picture(height, width);
    const large = await upscale(pipeline, small, {}, { tile: 12, overlap: 4 });
    expect([large.height, large.width]).toEqual([2 * height, 2 * width]);
    large.data.forEach((value, i) => {
      const [c, x, y] = [i % 3, Math.floor(i / 3) % (2 * width), Math.floor(i / 6 / width)];
      expect(value).toBe(small.data[(Math.floor(y / 2) * width + Math.floor(x / 2)) * 3 + c]);
    });
    // One shape only, so that an engine compiles once.
    expect(new Set(seen.map((size) => JSON.stringify(size))).size).toBe(1);
  });

  test('neighbours start from the same noise where they overlap: blending does not blur it', async () => {
    const { pipeline } = repeating({ noise: 10 });
    const flat = { ...picture(30, 21), data: new Uint8Array(30 * 21 * 3).fill(100) };
    const [tiled, whole] = [
      await upscale(pipeline, flat, { seed: 7 }, { tile: 12, overlap: 8 }),
      await upscale(pipeline, flat, { seed: 7 }, { tile: 32, overlap: 0 }),
    ];
    // The sums of blended bytes round to one grey level at most.
    tiled.data.forEach((value, i) => {
      expect(Math.abs(value - whole.data[i]!)).toBeLessThanOrEqual(1);
    });
    expect(new Set(whole.data).size).toBeGreaterThan(20);
  });

  test('the noise is of `seed`, or of the one of `seeds`', async () => {
    const { pipeline } = repeating({ noise: 10 });
    const of = async (request: object) => (await upscale(pipeline, picture(8, 8), request)).data;
    expect(await of({ seeds: [7] })).toEqual(await of({ seed: 7 }));
    expect(await of({ seeds: [8] })).not.toEqual(await of({ seed: 7 }));
  });

  test('rows come as they are done, the progress with them', async () => {
    const { pipeline } = repeating();
    const told: number[] = [];
    const heights: number[] = [];
    const options = { tile: 12, overlap: 4, onTile: (done: number, total: number) => told.push(done / total) };
    for await (const band of upscaleRows(pipeline, picture(30, 21), {}, options)) heights.push(band.height);
    expect(heights.length).toBeGreaterThan(2);
    expect(heights.reduce((a, b) => a + b, 0)).toBe(60);
    expect(told.at(-1)).toBe(1);
  });

  test('what does not fit is said', async () => {
    const { pipeline } = repeating();
    await expect(upscale(pipeline, picture(8, 8), {}, { tile: 10 })).rejects.toThrow(
      /tile: expected a multiple of 4 pixels, got 10/,
    );
    await expect(upscale(pipeline, picture(8, 8), {}, { overlap: 99 })).rejects.toThrow(/overlap: expected .* below/);
    const none = { ...pipeline, upscaling: null };
    await expect(upscale(none, picture(8, 8), {})).rejects.toThrow(/repeat enlarges no picture/);
    const stopped = { signal: AbortSignal.abort(new Error('stopped')) };
    await expect(upscale(pipeline, picture(8, 8), {}, stopped)).rejects.toThrow('stopped');
  });
});
