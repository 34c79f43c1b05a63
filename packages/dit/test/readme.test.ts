import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe as costOf } from '@mezzotint/core';
import { afterAll, expect, test, vi } from 'vitest';
import { presets } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test('the README’s example runs and prints what it says', async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)?.[1] ?? '';
  // The package is itself here: its own name leads to its source.
  writeFileSync(example, code.replace("'@mezzotint/dit'", "'../src/index.js'"));
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  await import(example);
  expect(log).toHaveBeenCalledWith([2, 32, 32, 8]);
  log.mockRestore();
});

test('the README’s table has every preset with the numbers that we count', () => {
  for (const preset of presets) {
    const { parameters, macs } = costOf(preset.build(), preset.inputs());
    const row = readme.split('\n').find((line) => line.startsWith(`| \`${preset.name}\` `)) ?? '';
    const [, , , count, gmacs] = row.split('|').map((cell) => cell.trim());
    expect(count).toBe(parameters.toLocaleString('en-US'));
    expect(gmacs).toBe((macs / 1e9).toFixed(macs >= 1e9 ? 2 : 4));
  }
});
