import { useBackend } from '@mezzotint/backend';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPipeline, type Pipeline } from '../src/node/index.js';
import { bitmapOf, compare, fixture, openGoldens, sampleFixture } from './support/goldens.js';

const goldens = openGoldens(fixture('sdxl-negative-sizes'));
const sizes = {
  originalSize: [40, 32],
  cropTopLeft: [1, 2],
  negativeOriginalSize: [64, 48],
  negativeCropTopLeft: [3, 5],
  negativeTargetSize: [20, 30],
} as const;
let xl: Pipeline;
beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  xl = await openPipeline(sampleFixture('tiny-sdxl'));
});
afterAll(() => xl.dispose());

test('SDXL is told other sizes for the negative prompt, as by diffusers', () =>
  compare(goldens, 'text', xl, sizes as never));

test('image to image keeps the crop of the prompt, as diffusers does', () =>
  compare(goldens, 'img2img', xl, { ...sizes, image: bitmapOf(goldens.read('picture')) } as never));

test('one size alone is refused', async () => {
  const check = (more: object) => xl.check({ prompt: 'a', ...more });
  await expect(check({ negativeTargetSize: [8, 8] })).rejects.toThrow(/negativeTargetSize go together/);
  await expect(check({ negativeCropTopLeft: [8, 8] })).rejects.toThrow(/negativeCropTopLeft needs both/);
});
