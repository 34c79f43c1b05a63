// The text-to-image model that comes with the project: what it makes is what the words say.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import type { Bitmap } from '@mezzotint/data';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPipeline as openBlobs, type Pipeline } from '../src/index.js';
import { openPipeline } from '../src/node/index.js';

const folder = fileURLToPath(new URL('../../../models/emoji', import.meta.url));
let pipeline: Pipeline;
beforeAll(async () => {
  await useBackend({ engine: 'onnxruntime' });
  pipeline = await openPipeline(folder);
});
afterAll(() => pipeline.dispose());

/** Mean red, green and blue of what is not white. */
function colour({ data }: Bitmap): [number, number, number] {
  const sum = [0, 0, 0];
  let count = 0;
  for (let i = 0; i < data.length; i += 3) {
    const pixel = [data[i]!, data[i + 1]!, data[i + 2]!];
    if (Math.min(...pixel) > 230) continue;
    count++;
    for (let c = 0; c < 3; c++) sum[c]! += pixel[c]!;
  }
  expect(count).toBeGreaterThan(64 * 8); // not empty
  return sum.map((total) => total / count) as [number, number, number];
}

/** Mean difference of bytes. */
const difference = (a: Bitmap, b: Bitmap) =>
  a.data.reduce((sum, value, i) => sum + Math.abs(value - b.data[i]!), 0) / a.data.length;

test('words for colours become colours, on white', async () => {
  const prompt = ['a red heart, noto style', 'a blue heart, twemoji style', 'a green apple, noto style'];
  const { images } = await pipeline.generate({ prompt, seed: 1, steps: 12 });
  expect(images.map(({ height, width, channels }) => [height, width, channels])).toEqual(prompt.map(() => [64, 64, 3]));
  const [red, blue, green] = images.map(colour);
  expect(red![0]).toBeGreaterThan(1.5 * Math.max(red![1], red![2]));
  expect(blue![2]).toBeGreaterThan(1.3 * blue![0]);
  expect(green![1]).toBeGreaterThan(1.2 * Math.max(green![0], green![2]));
  for (const { data } of images) expect(data[0]).toBeGreaterThan(230);
});

test('a start picture stays by strength, a mask keeps what is outside of it, a negative prompt changes the picture', async () => {
  const request = { seed: 2, steps: 8 };
  const make = async (more: object) => (await pipeline.generate({ ...request, ...more })).images[0]!;
  const pizza = await make({ prompt: 'a pizza, noto style' });
  const [weak, strong] = [
    await make({ prompt: 'a pizza, twemoji style', image: pizza, strength: 0.3, seed: 3 }),
    await make({ prompt: 'a pizza, twemoji style', image: pizza, strength: 0.95, seed: 3 }),
  ];
  expect(difference(weak, pizza)).toBeLessThan(0.7 * difference(strong, pizza));
  const mask: Bitmap = { data: new Uint8Array(64 * 64), height: 64, width: 64, channels: 1 };
  for (let y = 0; y < 64; y++) mask.data.fill(255, y * 64 + 32, y * 64 + 64);
  const inpainted = await make({ prompt: 'a red heart, noto style', image: pizza, mask, pasteBack: true });
  const half = (from: number) => (_: number, i: number) =>
    Math.floor(i / 3) % 64 >= from && Math.floor(i / 3) % 64 < from + 32;
  expect(inpainted.data.filter(half(0))).toEqual(pizza.data.filter(half(0)));
  expect(inpainted.data.filter(half(32))).not.toEqual(pizza.data.filter(half(32)));
  const without = await make({ prompt: 'a pizza, noto style', negative: 'a red heart, noto style' });
  expect(difference(without, pizza)).toBeGreaterThan(1);
});

test('opened from Blobs, as in a browser, it makes the same picture', async () => {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const blobs = new Map(
    paths.map((path) => [path.slice(folder.length + 1).replaceAll('\\', '/'), new Blob([readFileSync(path)])] as const),
  );
  const other = await openBlobs(blobs);
  const request = { prompt: 'a cat face, twemoji style', seed: 5, steps: 3 };
  const [a, b] = [await pipeline.generate(request), await other.generate(request)];
  expect(b.images[0]!.data).toEqual(a.images[0]!.data);
  other.dispose();
});
