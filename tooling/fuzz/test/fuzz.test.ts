import { describe, expect, test } from 'vitest';
import { readers } from '../src/readers.js';
import { fuzz } from '../src/run.js';

// The same files each time; `pnpm fuzz 100000` takes new ones.
describe.each(readers.map((reader) => [reader.name, reader] as const))('%s', (_, reader) => {
  test('a value or an error of ours, whatever the file', async () => {
    const { foreign, refused } = await fuzz(reader, 40, 7);
    expect(foreign).toEqual([]);
    expect(refused).toBeGreaterThan(0); // Harms that no reader sees would prove nothing.
  });
});
