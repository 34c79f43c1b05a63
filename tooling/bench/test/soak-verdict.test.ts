import { expect, test } from 'vitest';
import { judge, type MemorySample } from '../src/soak-verdict.js';

const mega = 2 ** 20;
/** 100 samples; resident memory and tensors by step. */
const series = (megabytes: (step: number) => number, tensors: (step: number) => number = () => 7): MemorySample[] =>
  Array.from({ length: 100 }, (_, step) => ({
    ...{ step, tensors: tensors(step), tensorBytes: 4 * tensors(step) },
    residentBytes: megabytes(step) * mega,
  }));

test('a warm-up and a noisy plateau are flat', () => {
  const noisy = series((step) => Math.min(400, 100 + 20 * step) + 30 * Math.sin(step * step));
  expect(judge(noisy)).toMatchObject({ flat: true, tensorGrowth: 0, problems: [] });
});

test('a leak of 1 MB a look is found, though it is less than the noise', () => {
  // From the second quarter's middle to the last one's it grows by 50 MB, more than 5 % of 137 MB and 32 MB.
  const leak = judge(series((step) => 100 + step + 10 * Math.sin(step * step)));
  expect(leak.flat).toBe(false);
  expect(leak.problems[0]).toMatch(/resident memory grew from 1\d\d to 1\d\d MB/);
});

test('one tensor that stays after the warm-up is a leak, one before is not', () => {
  expect(
    judge(
      series(
        () => 100,
        (step) => (step < 20 ? 6 : 7),
      ),
    ).flat,
  ).toBe(true);
  const late = judge(
    series(
      () => 100,
      (step) => (step < 90 ? 7 : 8),
    ),
  );
  expect(late).toMatchObject({ flat: false, tensorGrowth: 1 });
  expect(late.problems).toEqual(['the number of tensors changed by 1', "the tensors' bytes changed by 4"]);
});
