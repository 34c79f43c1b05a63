import { readdirSync, readFileSync } from 'node:fs';
import { architectureOfKind } from '@mezzotint/architectures';
import { type DataShape, describe as described, forwardInputs } from '@mezzotint/core';
import { emojiClasses } from '@mezzotint/data/emoji';
import { describe, expect, test } from 'vitest';
import { trainConfigSchema } from '../src/config.js';
import { wholeConfig } from '../src/defaults.js';
import { checkNetworkFits, networkConfig } from '../src/network-config.js';

const folder = new URL('../configs/', import.meta.url);
const files = readdirSync(folder);
const read = (file: string) => trainConfigSchema.parse(JSON.parse(readFileSync(new URL(file, folder), 'utf8')));

test.each(files)('%s is a configuration', (file) => {
  expect(read(file)).toBeDefined();
});

/** What a class set has, by the beginning of a file's name: `pnpm train emoji-data --classes`, `pnpm shapes`, the digits. */
const classSets: Readonly<Record<string, { path?: string; classes: number; digits?: DataShape }>> = {
  emoji: { path: 'data/emoji-classes', classes: Object.keys(emojiClasses).length },
  shapes: { path: 'data/shapes', classes: 7 },
  // The base of docs/cascades.md, whose classes are the groups of Unicode.
  cascade: { path: 'data/emoji/train', classes: 9 },
  digits: { classes: 10, digits: { imageSize: 28, channels: 1, classes: 10 } },
};

describe.each(files.filter((file) => read(file).task === 'diffusion' && read(file).data.kind !== 'latents'))(
  '%s',
  (file) => {
    const asked = read(file);
    const set = classSets[file.split('-')[0]!.replace('.json', '')]!;

    test('its network is built for the set, small enough for two cores, and its recipe tells it its time', () => {
      if (asked.task !== 'diffusion') throw new Error(`${file}: another task`);
      const { data } = asked;
      if (data.kind === 'folder') expect(data.path).toBe(set.path);
      const shape =
        data.kind === 'folder' ? { imageSize: data.size, channels: data.channels, classes: set.classes } : set.digits!;
      const size = shape.imageSize;
      const architecture = architectureOfKind('denoiser', asked.architecture);
      const config = networkConfig(architecture, asked.network, shape);
      const signature = architecture.signature(config);
      checkNetworkFits(signature, shape);
      expect(signature.nullLabel).toBe(true); // guidance has something to go away from
      const { parameters, macs } = described(architecture.build(config), forwardInputs(signature, size));
      expect(parameters).toBeGreaterThan(5e5);
      expect(parameters).toBeLessThan(3e6);
      expect(macs).toBeLessThan(2.5e8);
      // Throws when the recipe cannot tell the network its time.
      const whole = wholeConfig(asked, size);
      expect(whole.task === 'diffusion' && whole.process.kind).toBeTruthy();
      expect(asked.sampling!.guidance).toBeGreaterThan(1);
    });
  },
);
