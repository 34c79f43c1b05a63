import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe as costOf } from '@mezzotint/core';
import { runReadmeExample } from '@mezzotint/testing';
import { afterAll, expect, test } from 'vitest';
import { presets } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'text-encoders-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A folder as the example expects it, with a tiny model. */
function fillFolder(): void {
  const files = {
    'tokenizer/vocab.json': 'tokenizers/vocab.json',
    'tokenizer/merges.txt': 'tokenizers/merges.txt',
    'text_encoder/config.json': 'prompts/first.json',
  };
  for (const [to, from] of Object.entries(files)) {
    mkdirSync(join(folder, to, '..'), { recursive: true });
    copyFileSync(new URL(`./fixtures/${from}`, import.meta.url), join(folder, to));
  }
}

test('the README’s example runs and prints what it says', async () => {
  fillFolder();
  const edit = (code: string) => code.replace('stable-diffusion-v1-5', folder.replaceAll('\\', '/'));
  expect(await runReadmeExample(import.meta.url, '@mezzotint/text-encoders', edit)).toContainEqual([[2, 77, 8]]);
});

test('the README’s table has every preset with the numbers that we count', () => {
  for (const preset of presets) {
    const { parameters, macs } = costOf(preset.build(), preset.inputs());
    const row = readme.split('\n').find((line) => line.startsWith(`| \`${preset.name}\` `)) ?? '';
    const [, , about, count, gmacs] = row.split('|').map((cell) => cell.trim());
    expect(about).toBe(preset.about);
    expect(count).toBe(parameters.toLocaleString('en-US'));
    expect(gmacs).toBe((macs / 1e9).toFixed(2));
  }
});
