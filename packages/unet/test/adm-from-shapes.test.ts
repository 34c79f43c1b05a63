import type { Module } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  ADMUNet,
  type ADMUNetConfig,
  adm,
  admFromShapes,
  admUpsampler,
  type ClassifierConfig,
  NoisyClassifier,
  noisyClassifier,
  noisyClassifierFromShapes,
  publishedADM,
  SuperResolutionUNet,
} from '../src/index.js';

const tensorsOf = (model: Module) =>
  new Map([...model.params()].map(([name, { fileShape }]) => [name, { shape: fileShape, dtype: 'float32' }]));

describe('the published models are known by their tensors', () => {
  const own = ['digits', 'bench-unet', 'small-upsampler-64'];
  const published = adm.presets.filter(({ name }) => !own.includes(name));
  test.each(published.map((preset) => [preset.name, preset] as const))('%s', (_, preset) => {
    const tensors = tensorsOf(preset.build());
    expect(admFromShapes(tensors)).toEqual({ config: preset.config, upsampler: false });
    expect(publishedADM(tensors)).toBe(preset.name);
  });
  const upsamplers = admUpsampler.presets.filter(({ name }) => !own.includes(name));
  test.each(upsamplers.map((preset) => [preset.name, preset] as const))('%s', (_, preset) => {
    const tensors = tensorsOf(preset.build());
    expect(admFromShapes(tensors)).toEqual({ config: preset.config, upsampler: true });
    expect(publishedADM(tensors)).toBe(preset.name);
  });
  test.each(noisyClassifier.presets.slice(1).map((preset) => [preset.name, preset] as const))('%s', (_, preset) => {
    expect(noisyClassifierFromShapes(tensorsOf(preset.build()))).toEqual(preset.config);
  });
});

describe('others are read off names and shapes', () => {
  const base: ADMUNetConfig = {
    imageSize: 32,
    inChannels: 3,
    outChannels: 6,
    modelChannels: 32,
    channelMult: [1, 2, 2],
    resBlocks: 2,
    attentionResolutions: [2, 4],
    heads: { count: 4 },
    headsUp: { count: 4 },
    attentionOrder: 'new',
    timeConditioning: 'scale-shift',
    resampling: 'residual',
    groups: 32,
    dropout: 0,
    classes: 7,
    nullLabel: false,
  };
  const settings = { heads: 4, attentionOrder: 'new' } as const;
  const changes: readonly Partial<ADMUNetConfig>[] = [
    {},
    { resampling: 'conv', classes: null },
    { resampling: 'pool', timeConditioning: 'additive' },
    { resBlocks: 1, channelMult: [1, 1], attentionResolutions: [], imageSize: 16 },
    { resBlocks: 3, channelMult: [2], attentionResolutions: [1], imageSize: 8, outChannels: 3 },
  ];
  test.each(changes)('%o', (change) => {
    const config = { ...base, ...change };
    expect(admFromShapes(tensorsOf(new ADMUNet(config)), settings)).toEqual({ config, upsampler: false });
    expect(publishedADM(tensorsOf(new ADMUNet(config)))).toBeNull();
    expect(admFromShapes(tensorsOf(new SuperResolutionUNet(config)), settings)).toEqual({ config, upsampler: true });
  });

  test('a classifier', () => {
    const { outChannels: _o, headsUp: _h, nullLabel: _n, ...encoder } = base;
    const config: ClassifierConfig = { ...encoder, classes: 5, pool: 'attention' };
    expect(noisyClassifierFromShapes(tensorsOf(new NoisyClassifier(config)), settings)).toEqual(config);
  });

  test('nonsense is refused by name', () => {
    const none = new Map([['a', { shape: [1], dtype: 'float32' }]]);
    expect(() => admFromShapes(none)).toThrow(/out.2.weight: expected a tensor|resBlocks/);
    expect(() => admFromShapes(none, { headz: 1 } as never)).toThrow(/headz: unknown setting/);
  });
});
