import { describe, expect, test } from 'vitest';
import { openFormats, runFuzz } from './fuzzing.js';

// `pnpm --filter @mezzotint/weights fuzz` reads 10,000 files of each format; here as many as a test may take.
describe('mutated files give an error of ours or tensors of the shapes they say', () => {
  test.each(openFormats().map((format) => [format.name, format] as const))('%s', async (_, format) => {
    const report = await runFuzz(format, 300, 7);
    expect(report.problems).toEqual([]);
    expect(report.refused + report.read).toBe(report.files);
    expect(report.refused).toBeGreaterThan(0);
    expect(report.slowest).toBeLessThan(5000);
    // Deflate unpacks to at most 1032 times its size, blocks of 2 bits to 12 times, 4 bits to 8 times; nothing else may ask
    // for more than its widening, 4 times.
    expect(report.mostMemory).toBeLessThanOrEqual(
      { npz: 1032, gguf: 13, 'quantised safetensors': 9 }[format.name] ?? 5,
    );
  });
});
