import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { readImage } from '@mezzotint/data';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = new URL('../../../', import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'mezzotint-readme-'));
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const golden = readSafetensors(fixture('stable-diffusion.safetensors'));
const generated: string[] = [];
afterAll(() => {
  golden.close();
  rmSync(folder, { recursive: true, force: true });
  for (const file of generated) rmSync(file, { force: true });
});
beforeAll(() => useBackend({ engine: 'cpu' }));

const section = readFileSync(new URL('docs/composition.md', root), 'utf8').split('### Stable Diffusion')[1] ?? '';
const examples = [...section.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!);

/** Runs an example on the tiny folders, at their size and with the goldens' settings. */
async function run(
  name: string,
  code: string,
  seed: number,
  size: readonly [number, number],
): Promise<Record<string, tf.Tensor4D>> {
  const [height, width] = size;
  const changes: readonly (readonly [string, string])[] = [
    ["'stable-diffusion-v1-5'", JSON.stringify(fixture('tiny-sd'))],
    ["'sdxl-base'", JSON.stringify(fixture('tiny-sdxl'))],
    ["'sdxl-refiner'", JSON.stringify(fixture('tiny-sdxl-refiner'))],
    ["'cat.png'", JSON.stringify(join(folder, 'cat.png'))],
    ['await useBackend();', "await useBackend({ engine: 'cpu' });"],
    ['[1, 64, 64, 4]', `[1, ${height / 2}, ${width / 2}, 4]`],
    ['[1, 128, 128, 4]', `[1, ${height / 2}, ${width / 2}, 4]`],
    ['height: 512, width: 512', `height: ${height}, width: ${width}`],
    ['1024, 1024', `${height}, ${width}`],
    ['timeAt(0.2)', 'timeAt(0.4)'],
    ['scale: 7.5', 'scale: 5'],
    ['steps: 30', 'steps: 5'],
    ['torchNoise(7)', `torchNoise(${seed})`],
    ['const latents', 'export const latents'],
    ['const left', 'export const left'],
    ['const refined', 'export const refined'],
  ];
  const file = fileURLToPath(new URL(`./readme-${name}.generated.ts`, import.meta.url));
  generated.push(file);
  writeFileSync(
    file,
    changes.reduce((text, [from, to]) => text.replaceAll(from, to), code),
  );
  return (await import(file)) as Record<string, tf.Tensor4D>;
}

/** ||x - golden|| / ||golden||, the golden `[1, C, h, w]` or the last of `[steps, 1, C, h, w]`. */
function error(x: tf.Tensor4D, name: string): number {
  return tf.tidy(() => {
    const { data, shape } = golden.read(name);
    const [c, h, w] = shape.slice(-3) as [number, number, number];
    const last = tf.tensor4d(data.slice(-c * h * w), [1, c, h, w]);
    const expected = tf.transpose(last, [0, 2, 3, 1]);
    return tf.div(tf.norm(tf.sub(x, expected)), tf.norm(expected)).dataSync()[0]!;
  });
}

test('there are three examples, each below 25 lines, imports included', () => {
  expect(examples.length).toBe(3);
  for (const code of examples) {
    const lines = code.split('\n').filter((line) => line.trim() !== '');
    expect(lines.length).toBeLessThan(25);
  }
});

// 1e-4 is what the project promises of the parts; see stable-diffusion.test.ts.
test('Stable Diffusion: the latents and the picture of diffusers', async () => {
  const { latents } = await run('sd', examples[0]!, 7, [16, 24]);
  expect(error(latents!, 'sd-pndm.latents')).toBeLessThan(1e-4);
  const { data, height, width } = await readImage(join(folder, 'cat.png'));
  expect([height, width]).toEqual([16, 24]);
  const expected = golden.read('sd-pndm.images').data;
  // Half a byte of rounding, and the tolerance.
  data.forEach((value, i) => {
    expect(Math.abs(value / 255 - expected[i]!)).toBeLessThan(0.5 / 255 + 1e-3);
  });
});

test('SDXL', async () => {
  const { latents } = await run('xl', examples[1]!, 31, [16, 24]);
  expect(error(latents!, 'xl.latents')).toBeLessThan(1e-4);
});

test('SDXL and its refiner', async () => {
  const { left, refined } = await run('refiner', `${examples[1]!}${examples[2]!}`, 33, [16, 24]);
  expect(error(left!, 'xl-refiner.handed')).toBeLessThan(1e-4);
  expect(error(refined!, 'xl-refiner.latents')).toBeLessThan(1e-4);
});
