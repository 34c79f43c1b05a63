import { expect, test } from 'vitest';
import { operations } from '../src/cost.js';
import { networks } from '../src/networks.js';
import { markdown } from '../src/report.js';
import { medianRatio, timing } from '../src/statistics.js';

test('operations: two for each multiply-add, three times as many in a training step', () => {
  expect(operations('forward', 10)).toBe(20);
  expect(operations('train', 10)).toBe(60);
  expect(operations('matmul', 10)).toBe(2 * 2048 ** 3);
});

test('ratios are taken turn by turn, so a machine that slows down changes nothing', () => {
  expect(medianRatio([10, 20, 40], [5, 10, 20])).toBe(2);
  expect(timing([3, 1, 2, 10])).toEqual({ median: 2.5, min: 1, max: 10, runs: 4 });
});

test('the networks are those of the published sizes', () => {
  // Parameters of diffusers' UNet2DConditionModel and AutoencoderKL of Stable Diffusion 1.5, and of our UNets.
  expect(networks.sd15.cost().parameters).toBe(859_520_964);
  expect(networks.vae.cost().parameters).toBe(83_653_863);
  expect(networks.unet.cost().parameters / 1e6).toBeCloseTo(6.95, 2);
});

test('docs/performance.md says machine, command, medians, ratios and who is absent', () => {
  const row = (contestant: string, median: number, ratio: number) => ({
    ...{ contestant, version: '1.0', job: 'forward', ratio, gflops: 100, shareOfPeak: 0.5, peakMegabytes: 300 },
    timing: { median, min: median - 1, max: median + 1, runs: 3 },
  });
  const text = markdown({
    ...{ date: '2026-01-02', machine: 'a machine', threads: 2, runs: 3, command: 'pnpm bench --network unet' },
    networks: [
      {
        ...{ network: 'unet', about: 'a UNet', parameters: 6_950_000, macs: 2e9 },
        rows: [row('pytorch', 10, 1), row('onnxruntime', 12, 1.2)],
        absent: [{ contestant: 'tensorflow', reason: 'no addon' }],
      },
    ],
  });
  for (const part of ['2026-01-02: a machine; 2 threads', 'pnpm bench --network unet', '6.95 M parameters, 2.00 G']) {
    expect(text).toContain(part);
  }
  expect(text).toContain('| forward | onnxruntime 1.0 | 12 | 11-13 | 1.20 | 100 | 50 % | 300 |');
  expect(text).toContain('- tensorflow is not here: no addon');
});
