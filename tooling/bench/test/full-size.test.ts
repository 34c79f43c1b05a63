import { expect, test } from 'vitest';
import { updated, withSections } from '../src/checkpoint/report.js';
import { type FullSizeResult, fullSizeSection } from '../src/full-size-report.js';

const result = (seconds: number): FullSizeResult => ({
  ...{ model: 'flux.1-schnell', blocks: 'Q4_0', size: 512, description: 'FLUX.1 schnell', engine: 'onnxruntime 1.0' },
  phases: [
    { name: 'loading the text encoders', seconds: 20, peakGB: 6 },
    { name: 'step 1', seconds, peakGB: 8.25 },
    { name: 'step 2', seconds: 65, peakGB: 8 },
  ],
  ...{ date: '2026-01-02', machine: 'a machine', threads: 2, command: 'pnpm bench:full-size --folder scratch' },
});

test('a picture of full size is a section with the sum of its steps and its largest memory, and replaces its older one', () => {
  const first = withSections(undefined, [fullSizeSection(result(60))]);
  expect(first).toContain('**2 steps in 2:05, at most 8.25 GB resident.**');
  const second = withSections(first, [fullSizeSection(result(70.04))]);
  expect(second).toContain('**2 steps in 2:15, at most 8.25 GB resident.**');
  expect(second).toContain('| step 1 | 70.0 | 8.25 |');
  expect(second.match(/^## /gm)).toEqual(['## ']);
  const peer = { version: '0.1', steps: [100, 150], seconds: 310.08, peakGB: 12 };
  const beside = fullSizeSection({ ...result(60), peer });
  expect(beside).toContain(
    '2 steps in 4:10, at most 12.00 GB resident. Ours takes 0.50 of its time for the steps, 0.47 from the files to the picture.',
  );
  // The other command keeps it.
  expect(updated(second, [])).toBe(second);
});
