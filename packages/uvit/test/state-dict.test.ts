import { describe as costOf } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import * as uvit from '../src/index.js';
import { readTensors } from './support/golden.js';
import { tinyTextUViT, tinyUViT } from './support/tiny.js';

// Parameters and G of multiply-adds as counted on the reference implementation; the paper prints 44 M, 131 M, 287 M, 501 M.
const published = {
  'uvit-s-2-cifar10': [44_255_328, 12.201],
  'uvit-s-4-celeba64': [44_292_228, 12.211],
  'uvit-m-4-imagenet64': [130_940_292, 35.236],
  'uvit-l-4-imagenet64': [286_827_652, 76.473],
  'uvit-l-2': [286_763_172, 76.456],
  'uvit-h-2': [500_832_016, 133.197],
  'uvit-l-4-512': [286_861_524, 76.482],
  'uvit-h-4-512': [500_942_656, 133.225],
  'uvit-s-2-coco': [44_692_644, null],
  'uvit-s-2-deep-coco': [58_345_636, null],
} as const;

describe('parameters and multiply-adds', () => {
  test.each(Object.entries(published))('%s', (name, [parameters, gmacs]) => {
    const preset = uvit.presets.find((preset) => preset.name === name)!;
    const cost = costOf(preset.build(), preset.inputs());
    // Sums of whole numbers: no tolerance.
    expect([cost.parameters, cost.trainable]).toEqual([parameters, parameters]);
    // Printed with three decimals; the promise is 0.5 %.
    if (gmacs !== null) expect(Math.abs(cost.macs / 1e9 / gmacs - 1)).toBeLessThan(0.001);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(uvit).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(uvit.presets)).toEqual(new Set(exported));
    expect(uvit.presets.map(({ name }) => name)).toEqual(Object.keys(published));
  });
});

describe('state dict', () => {
  test.each([
    [
      'uvit',
      uvit.uvitFromOriginal({
        ...{ img_size: 8, patch_size: 2, in_chans: 4, embed_dim: 48 },
        depth: 4,
        num_heads: 4,
        num_classes: 11,
      }),
    ],
  ] as const)('%s: the names and shapes of the original', (folder, config) => {
    const theirs = readTensors(`${folder}/model.safetensors`);
    const ours = [...new uvit.UViT(config).params()].map(([key, param]) => [key, [...param.fileShape]] as const);
    expect(Object.fromEntries(ours)).toEqual(
      Object.fromEntries(Object.entries(theirs).map(([key, { shape }]) => [key, shape])),
    );
    expect(ours.length).toBe(Object.keys(theirs).length);
  });

  test('U-ViT-L/2 has the 261 tensors of the published file', () => {
    expect(uvit.uvitL2.build().params().size).toBe(261);
  });

  test('parts that are optional', () => {
    const labels = new uvit.UViT(tinyUViT).params();
    expect(labels.get('label_emb.weight')?.fileShape).toEqual([4, 8]);
    expect(labels.get('time_embed.2.weight')?.fileShape).toEqual([8, 32]);
    expect(labels.get('out_blocks.1.skip_linear.weight')?.fileShape).toEqual([8, 16]);
    expect(labels.get('pos_embed')?.fileShape).toEqual([1, 6, 8]);
    const text = new uvit.UViT(tinyTextUViT).params();
    expect(text.get('context_embed.weight')?.fileShape).toEqual([8, 5]);
    for (const name of [
      'time_embed.0.weight',
      'label_emb.weight',
      'out_blocks.0.skip_linear.weight',
      'final_layer.weight',
    ]) {
      expect(text.has(name), name).toBe(false);
    }
  });
});
