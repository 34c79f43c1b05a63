import { runReadmeExample } from '@mezzotint/testing';
import { expect, test } from 'vitest';

test('the README’s example runs and prints what it says', async () => {
  const [[parameters], [about]] = (await runReadmeExample(import.meta.url, '@mezzotint/architectures')) as [
    [number],
    [string],
  ];
  expect(parameters).toBeGreaterThan(1e6);
  expect(about).toMatch(/^DiT-XL\/2, ImageNet 256x256/);
});
