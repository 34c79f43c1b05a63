import { describe, expect, test } from 'vitest';
import * as unet from '../src/index.js';
import { readJson } from './support/golden.js';

// Counts of the published models. They are sums of whole numbers: no tolerance.
const published = {
  'adm-64': 295_904_454,
  'adm-128': 421_529_606,
  'adm-256': 553_838_086,
  'adm-256-uncond': 552_814_086,
  'adm-512': 558_997_638,
  'adm-64-256-upsampler': 311_795_910,
  'adm-128-512-upsampler': 308_835_270,
  'adm-classifier-64': 65_438_568,
  'adm-classifier-128': 42_568_040,
  'adm-classifier-256': 54_096_360,
  'adm-classifier-512': 54_448_360,
  'ddpm-cifar10': 35_746_307,
  sd15: 859_520_964,
  sd21: 865_910_724,
  'sdxl-base': 2_567_463_684,
  'sdxl-refiner': 2_259_526_660,
  // Printed as 4.3 B, 0.9 B, 0.4 B and 1.2 B; diffusers' class with these settings has as many.
  'if-i-xl': 4_304_695_110,
  'if-i-l': 935_365_830,
  'if-i-m': 371_605_830,
  'if-ii-l': 1_243_277_190,
  // Printed as 6.95 M in the project's design.
  'bench-unet': 6_949_187,
  // The paper prints "~120M" and gives no count for CIFAR-10; the repository calls its files 270M, 100M and 280M; these pin what we build.
  'iddpm-64': 121_063_942,
  'iddpm-64-cond': 273_049_350,
  'iddpm-lsun-256': 113_676_678,
  'iddpm-64-256-upsampler': 279_792_390,
  'iddpm-cifar10': 52_546_438,
  'edm-cifar10-32x32-uncond-vp': 55_733_891,
  'edm-cifar10-32x32-cond-vp': 55_735_299,
  'edm-cifar10-32x32-uncond-ve': 56_397_827,
  'edm-cifar10-32x32-cond-ve': 56_400_643,
  'edm-ffhq-64x64-uncond-vp': 61_805_571,
  'edm-ffhq-64x64-uncond-ve': 62_761_091,
  'edm-afhqv2-64x64-uncond-vp': 61_805_571,
  'edm-afhqv2-64x64-uncond-ve': 62_761_091,
  'edm-imagenet-64x64-cond-adm': 295_899_267,
  'edm2-img512-xxs': 31_309_029,
  'edm2-img512-xs': 124_713_253,
  'edm2-img512-s': 280_212_837,
  'edm2-img512-m': 497_807_781,
  'edm2-img512-l': 777_498_085,
  'edm2-img512-xl': 1_119_283_749,
  'edm2-img512-xxl': 1_523_164_773,
  'edm2-img512-xs-uncond': 124_201_253,
  // As above, less 9 C weights of the first convolution and as many of the last.
  'edm2-img64-xs': 124_713_253 - 18 * 128,
  'edm2-img64-s': 280_212_837 - 18 * 192,
  'edm2-img64-m': 497_807_781 - 18 * 256,
  'edm2-img64-l': 777_498_085 - 18 * 320,
  'edm2-img64-xl': 1_119_283_749 - 18 * 384,
  // Printed as 295.9, 291.8, 277.8 three times, 280.2 and 280.2 M; from B on with the 128 weights of the uncertainty head.
  'edm2-ablation-a': 295_902_724,
  'edm2-ablation-b': 291_757_828 + 128,
  'edm2-ablation-c': 277_816_512 + 128,
  'edm2-ablation-d': 277_816_512 + 128,
  'edm2-ablation-e': 277_816_512 + 128,
  'edm2-ablation-f': 280_212_672 + 128,
  'edm2-ablation-g': 280_212_709 + 128,
  // VDM++ (Kingma and Gao 2023) prints 2,455 M; the paper gives no count to the last, so these pin what we build.
  'simple-diffusion-uvit-128': 2_455_685_891,
  'simple-diffusion-uvit-256': 2_455_688_204,
  'simple-diffusion-uvit-512': 2_455_697_456,
  // Our own.
  'small-upsampler-64': 1_403_619,
  digits: 735_473,
  'digits-classifier': 357_994,
} as const;

describe('parameters', () => {
  test.each(unet.presets.map((preset) => [preset.name, preset] as const))('%s', (name, preset) => {
    const sizes = [...preset.build().params().values()].map((param) => (param.buffer ? 0 : param.size));
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(published[name as keyof typeof published]);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(unet).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(unet.presets)).toEqual(new Set(exported));
    expect(new Set(unet.presets.map(({ name }) => name)).size).toBe(unet.presets.length);
    expect(Object.keys(published).sort()).toEqual(unet.presets.map(({ name }) => name).sort());
  });

  test('ADM-U is ADM-128 and its upsampler', () => {
    expect(published['adm-128'] + published['adm-128-512-upsampler']).toBe(730_364_876);
  });
});

describe('state dicts are those of the published files', () => {
  test.each([
    ['adm-64', unet.adm64],
    ['adm-128', unet.adm128],
    ['adm-256', unet.adm256],
    ['adm-512', unet.adm512],
    ['sd15', unet.sd15],
    ['sdxl-base', unet.sdxlBase],
    ['sdxl-refiner', unet.sdxlRefiner],
  ])('%s: same names, same shapes, same order', (name, preset) => {
    const { tensors } = readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`);
    const ours = [...preset.build().params()].map(([key, param]) => [key, [...param.fileShape]]);
    expect(Object.fromEntries(ours)).toEqual(tensors);
    expect(ours.map(([key]) => key)).toEqual(Object.keys(tensors));
  });

  test('a head keeps the reference’s places', () => {
    const names = (pool: unet.ClassifierPool) =>
      [...new unet.NoisyClassifier({ ...unet.admClassifier64.build().config, pool }).params()]
        .filter(([key]) => key.startsWith('out.'))
        .map(([key, param]) => `${key} ${param.fileShape}`);
    // 64: widths 128 x (1 + 4 + 1), 256 x 5, 384 x 5, 512 x 4 and the middle's 512 are what the spatial heads see.
    const all = 128 * 6 + 256 * 5 + 384 * 5 + 512 * 4 + 512;
    expect(names('adaptive')).toEqual([
      'out.0.weight 512',
      'out.0.bias 512',
      'out.3.weight 1000,512,1,1',
      'out.3.bias 1000',
    ]);
    expect(names('spatial')).toEqual([
      `out.0.weight 2048,${all}`,
      'out.0.bias 2048',
      'out.2.weight 1000,2048',
      'out.2.bias 1000',
    ]);
    expect(names('spatial_v2')).toEqual([
      `out.0.weight 2048,${all}`,
      'out.0.bias 2048',
      'out.1.weight 2048',
      'out.1.bias 2048',
      'out.3.weight 1000,2048',
      'out.3.bias 1000',
    ]);
    expect(names('attention')).toEqual([
      'out.0.weight 512',
      'out.0.bias 512',
      'out.2.positional_embedding 512,65',
      'out.2.qkv_proj.weight 1536,512,1',
      'out.2.qkv_proj.bias 1536',
      'out.2.c_proj.weight 1000,512,1',
      'out.2.c_proj.bias 1000',
    ]);
  });
});
