import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import { afterAll, expect, test } from 'vitest';

const root = new URL('../../../', import.meta.url);
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test('the example of docs/composition.md makes four digits', async () => {
  const code = /```ts\n([^`]+)```/.exec(readFileSync(new URL('docs/composition.md', root), 'utf8'))?.[1] ?? '';
  const model = fileURLToPath(new URL('models/digits', root));
  writeFileSync(example, code.replace('models/digits', model).replace('const images', 'export const images'));
  const { images } = (await import(example)) as { images: tf.Tensor4D };
  expect(images.shape).toEqual([4, 28, 28, 1]);
  // Digits: black but for strokes.
  const values = await images.data();
  const ink = values.filter((v) => v > 0).length / values.length;
  expect(ink).toBeGreaterThan(0.03);
  expect(ink).toBeLessThan(0.35);
  images.dispose();
});
