import { describe, expect, test } from 'vitest';
import * as autoencoders from '../src/index.js';
import { readJson } from './support/golden.js';

// Counts of the published models. They are sums of whole numbers: no tolerance.
const published = {
  'vae-sd': 83_653_863,
  'vae-sdxl': 83_653_863,
  'vae-sd3': 83_819_683,
  'vae-flux': 83_819_683,
  taesd: 2_445_063,
  taesd3: 2_458_899,
  // Our own.
  'digits-autoencoder': 240_501,
  'digits-vae': 241_749,
  'digits-vq': 240_797,
  'emoji-vae': 681_911,
} as const;

const count = (model: { params(): ReadonlyMap<string, { size: number }> }) =>
  [...model.params().values()].reduce((sum, param) => sum + param.size, 0);

describe('parameters', () => {
  test.each(autoencoders.presets.map((preset) => [preset.name, preset] as const))('%s', (name, preset) => {
    expect(count(preset.build())).toBe(published[name as keyof typeof published]);
  });

  test('the halves of the KL autoencoders are those of the published ones', () => {
    const sd = autoencoders.vaeSd.build();
    expect([count(sd.encoder), count(sd.decoder)]).toEqual([34_163_592, 49_490_179]);
    const flux = autoencoders.vaeFlux.build();
    expect([count(flux.encoder), count(flux.decoder)]).toEqual([34_274_208, 49_545_475]);
  });

  test('presets have one name each, and all are listed', () => {
    const exported = Object.values(autoencoders).filter(
      (value) => typeof value === 'object' && 'build' in value && 'config' in value,
    );
    expect(new Set(autoencoders.presets)).toEqual(new Set(exported));
    expect(Object.keys(published).sort()).toEqual(autoencoders.presets.map(({ name }) => name).sort());
  });
});

describe('state dicts are those of diffusers: same names, same shapes, same order', () => {
  test.each([
    ['vae-4ch', autoencoders.vaeSd],
    ['vae-16ch', autoencoders.vaeFlux],
  ])('%s', (name, preset) => {
    const { tensors } = readJson<{ tensors: Record<string, number[]> }>(`${name}.manifest.json`);
    const ours = [...preset.build().params()].map(([key, param]) => [key, [...param.fileShape]]);
    expect(Object.fromEntries(ours)).toEqual(tensors);
    expect(ours.map(([key]) => key)).toEqual(Object.keys(tensors));
  });
});
