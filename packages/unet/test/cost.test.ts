import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import { presets } from '../src/index.js';

/** G of multiply-adds of the published models, as counted on the reference implementation. */
const published = {
  'adm-64': 109.68,
  'adm-128': 306.93,
  'adm-256': 1119.83,
  'adm-512': 1982.33,
  'adm-64-256-upsampler': 631.64,
  'adm-128-512-upsampler': 2504.78,
  'adm-classifier-64': 19.08,
  'adm-classifier-128': 21.04,
  'adm-classifier-256': 73.35,
  'adm-classifier-512': 112.77,
  sd15: 401.64,
  sd21: 1074.55,
  'sdxl-base': 3380.62,
  'sdxl-refiner': 3643.01,
};

describe('multiply-adds', () => {
  // Half a percent: counts agree, but for the answers of the classifiers' attention pool that nothing uses and that we
  // do not compute (0.3 % of the smallest classifier), and for what a counter may add for norms.
  test.each(Object.entries(published))('%s', (name, gmacs) => {
    const preset = presets.find((preset) => preset.name === name)!;
    const { macs } = costOf(preset.build(), preset.inputs());
    expect(Math.abs(macs / 1e9 / gmacs - 1)).toBeLessThan(0.005);
  });

  test('every preset can be described, ours for digits within what a CPU trains in an hour', () => {
    const macs = Object.fromEntries(
      presets.map((preset) => [preset.name, costOf(preset.build(), preset.inputs()).macs]),
    );
    for (const name of presets.map((preset) => preset.name)) expect(macs[name]).toBeGreaterThan(1e6);
    expect(macs.digits).toBeLessThan(60e6);
    expect(macs['digits-classifier']).toBeLessThan(20e6);
  });
});
