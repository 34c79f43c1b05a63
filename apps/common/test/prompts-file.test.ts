import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readPrompts } from '../src/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-prompts-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const file = join(root, 'prompts.txt');
const read = (text: string, paired = false) => {
  writeFileSync(file, text);
  return readPrompts('--prompts', file, { paired });
};

test('a prompt a line, blank lines passed over', () => {
  expect(read('\uFEFFa cat\r\n\r\n  \n a dog \n\n')).toEqual(['a cat', ' a dog ']);
});

test('where lines belong to pictures, blank ones among them are named, those at the end are none', () => {
  expect(read('a cat\na dog\n\n', true)).toEqual(['a cat', 'a dog']);
  expect(() => read('\na cat\n \na dog\n', true)).toThrow(
    /--prompts: .*prompts.txt: expected a prompt for a picture in each line; blank are the lines 1, 3$/,
  );
});

test('a file without a prompt, and none at all', () => {
  for (const paired of [true, false]) expect(() => read('\n\n', paired)).toThrow(/has no line with a prompt/);
  expect(() => read('')).toThrow(/has no line with a prompt/);
  expect(() => readPrompts('--prompts', join(root, 'nowhere'))).toThrow(/--prompts: .*nowhere: no such file/);
});
