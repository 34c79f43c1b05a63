import { architectures } from '@mezzotint/architectures';
import type { DenoiserArchitecture } from '@mezzotint/core';
import { adaptableLayers, LoraAdapter } from '@mezzotint/training';
import { expect, test } from 'vitest';
import { loraDefaults } from '../src/network-config.js';

const denoisers = architectures.filter((one): one is DenoiserArchitecture => one.kind === 'denoiser');

test.each(denoisers.map((one) => [one.name, one] as const))(
  '%s: a LoRA that says no targets changes the attention of every preset',
  (_, architecture) => {
    for (const { config } of architecture.presets) {
      const model = architecture.build(config); // without weights
      const options = { rank: 2, dora: false };
      const { targets } = loraDefaults(options, architecture, model);
      const adapter = new LoraAdapter(model, { ...options, targets });
      const changed = [...adapter.layers.keys()];
      expect(changed.length).toBeGreaterThan(0);
      expect(changed.length).toBeLessThan(adaptableLayers(model).length);
      for (const path of changed)
        expect(path).toMatch(/attn|attention|mha|mixer|qkv|proj(?:_out)?$|to_(?:q|kv|out|context)/);
    }
  },
);

test('a network without attention is changed everywhere', () => {
  const architecture = denoisers.find(({ name }) => name === 'UNet2D')!;
  const { config } = architecture.presets[0]!;
  const model = architecture.build(config);
  const { targets } = loraDefaults({ rank: 2, dora: false }, { attention: ['*nothing*'] }, model);
  expect(new LoraAdapter(model, { rank: 2, targets }).layers.size).toBe(adaptableLayers(model).length);
});
