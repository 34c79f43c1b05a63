import { describe, expect, test } from 'vitest';
import { DiT, type DiTConfig, ditFromShapes, presets } from '../src/index.js';
import { tinyDiT } from './support/tiny.js';

const tensorsOf = (config: DiTConfig) =>
  new Map([...new DiT(config).params()].map(([name, { fileShape }]) => [name, { shape: fileShape, dtype: 'float32' }]));

describe('a configuration read off names and shapes', () => {
  test.each(presets.map((preset) => [preset.name, preset.config] as const))('%s', (_, config) => {
    expect(ditFromShapes(tensorsOf(config))).toEqual(config);
  });

  test('what shapes do not say is given', () => {
    const config: DiTConfig = { ...tinyDiT, mlpEpsilon: 1e-6, nullLabel: false };
    expect(ditFromShapes(tensorsOf(config), { heads: 2, nullLabel: false })).toEqual(config);
    expect(() => ditFromShapes(tensorsOf(config))).toThrow(/heads: expected a whole number/);
    expect(() => ditFromShapes(tensorsOf(config), { haeds: 2 } as never)).toThrow(/haeds: unknown setting/);
  });

  test('what is no DiT is said by the tensors that are missing', () => {
    expect(() => ditFromShapes(new Map([['conv.weight', { shape: [1], dtype: 'float32' }]]))).toThrow(
      /x_embedder.proj.weight: expected a tensor/,
    );
  });
});
