import { runReadmeExample } from '@mezzotint/testing';
import { expect, test } from 'vitest';

test('the README’s example runs and prints what it says', async () => {
  expect(await runReadmeExample(import.meta.url, '@mezzotint/features')).toContainEqual([2, 2048, 1008]);
});
