import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import * as zigma from '../src/index.js';
import { readJson, readTensors } from './support/golden.js';

// Parameters, and G of multiply-adds without the scan, as counted on the original class (S/2, B/1 and B/2 with both directions) and
// by the arithmetic that equals it; sizes of the paper's text and 1024-pixel models by our own.
const counted = {
  'zigma-s-1': [31_681_860, 22.044],
  'zigma-s-2': [31_408_080, 5.521],
  'zigma-s-4': [31_372_800, 1.39],
  'zigma-b-1': [134_624_260, 93.213],
  'zigma-b-2': [134_052_880, 23.341],
  'zigma-b-4': [133_979_200, 5.872],
  'zigma-m-1': [267_666_436, 186.42],
  'zigma-m-2': [267_095_056, 46.674],
  'zigma-m-4': [267_021_376, 11.737],
  'zigma-l-1': [473_542_660, 329.128],
  'zigma-l-2': [472_780_816, 82.403],
  'zigma-l-4': [472_682_560, 20.721],
  'zigma-h-1': [1_060_276_228, 735.398],
  'zigma-h-2': [1_059_133_456, 184.116],
  'zigma-h-4': [1_058_986_048, 46.295],
  'zigma-b-1-bidirectional': [140_190_724, null],
  'zigma-b-1-coco': [215_504_644, null],
  'zigma-b-2-1024': [133_856_272, null],
} as const;

describe('parameters and multiply-adds', () => {
  test.each(Object.entries(counted))('%s', (name, [parameters, gmacs]) => {
    const preset = zigma.presets.find((preset) => preset.name === name)!;
    const model = preset.build();
    const cost = costOf(model, preset.inputs());
    // Sums of whole numbers: no tolerance.
    expect(cost.parameters).toBe(parameters);
    if (gmacs === null) return;
    // The reference counts the convolution's four taps and 32 products of the scan for each channel and token, which are
    // element-wise here; we count the 16 products of its sum over the states, a matrix product here.
    const { width, depth, imageSize, patchSize } = model.config;
    const channels = (imageSize / patchSize) ** 2 * 2 * width * depth;
    expect(Math.abs((cost.macs + (36 - 16) * channels) / 1e9 / gmacs - 1)).toBeLessThan(0.001);
  });

  test('the other published sizes with both directions', () => {
    const { config } = zigma.zigmaB1Bidirectional.build();
    const count = (change: Partial<zigma.ZigMaConfig>) =>
      [...new zigma.ZigMa({ ...config, ...change }).params().values()].reduce((n, param) => n + param.size, 0);
    expect(count({ width: 368 })).toBe(33_465_924);
    expect(count({ patchSize: 2 })).toBe(139_619_344);
    expect(count({ depth: 48 })).toBe(278_799_364);
    expect(count({ width: 1024, depth: 48 })).toBe(491_532_292);
    expect(count({ width: 1536, depth: 48 })).toBe(1_096_697_860);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(zigma).filter((value) => typeof value === 'object' && 'inputs' in value);
    expect(new Set(zigma.presets)).toEqual(new Set(exported));
    expect(zigma.presets.map(({ name }) => name)).toEqual(Object.keys(counted));
  });
});

test.each(['zigma-class', 'zigma-text', 'zigma-sweep'])('%s: the names and shapes of the original', (folder) => {
  const config = zigma.zigmaFromOriginal(readJson(`${folder}/config.json`));
  const theirs = Object.entries(readTensors(`${folder}/model.safetensors`)).map(([key, { shape }]) => [key, shape]);
  const ours = [...new zigma.ZigMa(config).params()].map(([key, param]) => [key, [...param.fileShape]]);
  expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(theirs));
});
