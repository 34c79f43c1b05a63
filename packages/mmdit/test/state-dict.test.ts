import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import * as mmdit from '../src/index.js';
import { readJson } from './support/golden.js';

// Parameters without and numbers of the frozen positions, and G of multiply-adds at 1024x1024 (text tokens: 154 of SD3, 333
// of SD3.5, 512 of FLUX), as counted on the reference implementation.
const published = {
  'sd3-medium': [2_028_328_000, 56_623_104, 4218.68],
  'sd3.5-medium': [2_243_171_520, 226_492_416, 5624.79],
  'sd3.5-large': [8_056_627_520, 89_653_248, 15_560.56],
  'flux.1-dev': [11_901_408_320, 0, 37_192.3],
  'flux.1-schnell': [11_891_178_560, 0, 37_192.3],
} as const;

describe('parameters and multiply-adds', () => {
  test.each(Object.entries(published))('%s', (name, [trainable, positions, gmacs]) => {
    const preset = mmdit.presets.find((preset) => preset.name === name)!;
    const model = preset.build();
    const cost = costOf(model, preset.inputs());
    // Sums of whole numbers: no tolerance.
    const buffers = [...model.params().values()].reduce((sum, param) => sum + (param.buffer ? param.size : 0), 0);
    expect([cost.parameters, cost.trainable, buffers]).toEqual([trainable, trainable, positions]);
    // The promise is 0.5 %: what other tools count beside linear maps and attention differs.
    expect(Math.abs(cost.macs / 1e9 / gmacs - 1)).toBeLessThan(0.005);
  });

  test('the sizes of the scaling study: width and heads follow the depth', () => {
    const { mmdit15, mmdit18, mmdit21, mmdit30, mmdit38 } = mmdit;
    for (const [preset, depth] of [
      [mmdit15, 15],
      [mmdit18, 18],
      [mmdit21, 21],
      [mmdit30, 30],
      [mmdit38, 38],
    ] as const) {
      const model = preset.build();
      expect([model.joint_blocks.length, model.config.width, model.config.heads]).toEqual([depth, 64 * depth, depth]);
    }
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(mmdit).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(mmdit.presets)).toEqual(new Set(exported));
    expect(new Set(mmdit.presets.map(({ name }) => name)).size).toBe(mmdit.presets.length);
  });
});

describe('state dict', () => {
  test.each([
    ['sd3-medium', mmdit.sd3Medium],
    ['flux-dev', mmdit.fluxDev],
  ])('that of the published file: %s', (file, preset) => {
    const { tensors } = readJson<{ tensors: Record<string, number[]> }>(`${file}.manifest.json`);
    const ours = [...preset.build().params()].map(([key, param]) => [key, [...param.fileShape]]);
    expect(Object.fromEntries(ours)).toEqual(tensors);
    expect(ours.map(([key]) => key)).toEqual(Object.keys(tensors));
  });

  test.each([mmdit.sd3Medium, mmdit.sd35Medium, mmdit.sd35Large])(
    '$name is read off its own names and shapes',
    (preset) => {
      const model = preset.build();
      const tensors = new Map(
        [...model.params()].map(([key, { fileShape }]) => [key, { shape: fileShape, dtype: 'F16' }]),
      );
      expect(mmdit.mmditFromShapes(tensors)).toEqual(model.config);
    },
  );

  test.each([mmdit.fluxDev, mmdit.fluxSchnell])('$name is read off its own names and shapes', (preset) => {
    const model = preset.build();
    const tensors = new Map(
      [...model.params()].map(([key, { fileShape }]) => [key, { shape: fileShape, dtype: 'F16' }]),
    );
    expect(mmdit.fluxFromShapes(tensors)).toEqual(model.config);
    tensors.set('distilled_guidance_layer.in_proj.weight', { shape: [1, 1], dtype: 'F16' });
    expect(() => mmdit.fluxFromShapes(tensors)).toThrow(/this is Chroma, which is another network/);
  });
});
