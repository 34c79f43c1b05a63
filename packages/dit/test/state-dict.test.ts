import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import * as dit from '../src/index.js';
import { readJson } from './support/golden.js';
import { tinyDiT } from './support/tiny.js';

// Of the published models at 256x256 (32x32 latent images): parameters with the frozen positions and without, and G of
// multiply-adds at 32x32 and 64x64, as counted on the reference implementation.
const published = {
  'dit-s-8': [33_148_160, 33_142_016, 0.358, 1.427],
  'dit-s-4': [32_945_024, 32_920_448, 1.413, 6.07],
  'dit-s-2': [32_963_360, 32_865_056, 6.056, 31.437],
  'dit-b-8': [130_881_536, 130_869_248, 1.418, 5.593],
  'dit-b-4': [130_475_648, 130_426_496, 5.565, 23.033],
  'dit-b-2': [130_512_416, 130_315_808, 23.005, 106.383],
  'dit-l-8': [458_594_816, 458_578_432, 5.011, 19.733],
  'dit-l-4': [458_053_760, 457_988_224, 19.696, 80.735],
  'dit-l-2': [458_102_816, 457_840_672, 80.698, 360.982],
  'dit-xl-8': [675_683_072, 675_664_640, 7.392, 29.086],
  'dit-xl-4': [675_074_432, 675_000_704, 29.044, 118.664],
  'dit-xl-2': [675_129_632, 674_834_720, 118.621, 524.538],
} as const;

const costAt = (preset: (typeof dit.presets)[number], imageSize: number) => {
  const { config } = preset.build();
  const inputs = [{ shape: [1, imageSize, imageSize, 4] }, ...preset.inputs().slice(1)];
  return costOf(new dit.DiT({ ...config, imageSize }), inputs);
};

describe('parameters and multiply-adds', () => {
  test.each(Object.entries(published))('%s', (name, [all, trainable, gmacs, gmacsAt64]) => {
    const preset = dit.presets.find((preset) => preset.name === name)!;
    const cost = costAt(preset, 32);
    // Sums of whole numbers: no tolerance.
    expect([cost.parameters, cost.trainable]).toEqual([all, trainable]);
    // Printed with three decimals, half of the last of which is 0.14 % of the smallest; the promise is 0.5 %.
    expect(Math.abs(cost.macs / 1e9 / gmacs - 1)).toBeLessThan(0.002);
    expect(Math.abs(costAt(preset, 64).macs / 1e9 / gmacsAt64 - 1)).toBeLessThan(0.002);
  });

  test('DiT-XL/2 at 512x512: four times the positions, and nothing else', () => {
    const { parameters, trainable, macs } = costOf(dit.ditXl2At512.build(), dit.ditXl2At512.inputs());
    expect([parameters, trainable]).toEqual([674_834_720 + 1024 * 1152, 674_834_720]);
    expect(Math.abs(macs / 1e9 / 524.538 - 1)).toBeLessThan(0.002);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(dit).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(dit.presets)).toEqual(new Set(exported));
    expect(dit.presets.map(({ name }) => name)).toEqual([...Object.keys(published), 'dit-xl-2-512']);
  });
});

describe('state dict', () => {
  test('that of the published file: same names, same shapes, same order', () => {
    const { tensors } = readJson<{ tensors: Record<string, number[]> }>('dit-xl-2.manifest.json');
    const ours = [...dit.ditXl2.build().params()].map(([key, param]) => [key, [...param.fileShape]]);
    expect(Object.fromEntries(ours)).toEqual(tensors);
    expect(ours.map(([key]) => key)).toEqual(Object.keys(tensors));
  });

  test('embedders of each block, a table without "no label", q, k and v without biases', () => {
    const config = { ...tinyDiT, embedders: 'per-block', nullLabel: false, qkvBias: false } as const;
    const params = new dit.DiT(config).params();
    expect(params.has('t_embedder.mlp.0.weight')).toBe(false);
    expect(params.get('blocks.1.y_embedder.embedding_table.weight')?.fileShape).toEqual([3, 8]);
    expect(params.get('blocks.1.t_embedder.mlp.0.weight')?.fileShape).toEqual([8, 256]);
    expect(params.has('blocks.0.attn.qkv.bias')).toBe(false);
    expect(params.has('blocks.0.attn.proj.bias')).toBe(true);
  });
});
