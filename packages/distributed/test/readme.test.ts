import { runReadmeExample } from '@mezzotint/testing';
import { expect, test } from 'vitest';

test('the README’s example runs without MPI and prints what it says', async () => {
  expect(await runReadmeExample(import.meta.url, '@mezzotint/distributed')).toEqual([
    ['single', 0, 1, [0, 1]],
    [Array(3).fill([3, 1.5])],
  ]);
});
