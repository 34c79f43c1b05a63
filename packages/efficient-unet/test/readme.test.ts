import { readFileSync } from 'node:fs';
import { describe as costOf } from '@mezzotint/core';
import { runReadmeExample } from '@mezzotint/testing';
import { expect, test } from 'vitest';
import { presets } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

test('the README’s example runs and prints what it says', async () => {
  expect(await runReadmeExample(import.meta.url, '@mezzotint/efficient-unet')).toContainEqual([[1, 16, 16, 3]]);
});

test('the README’s table has every preset with the numbers that we count', () => {
  for (const preset of presets) {
    const { parameters, macs } = costOf(preset.build(), preset.inputs());
    const row = readme.split('\n').find((line) => line.startsWith(`| \`${preset.name}\` `)) ?? '';
    const [, , , count, gmacs] = row.split('|').map((cell) => cell.trim());
    expect(count).toBe(parameters.toLocaleString('en-US'));
    expect(gmacs).toBe((macs / 1e9).toFixed(2));
  }
});
