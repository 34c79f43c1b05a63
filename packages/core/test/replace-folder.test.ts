import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { replaceFolder } from '../src/node.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-replace-'));
afterAll(() => rmSync(root, { recursive: true }));

function folderWith(name: string, text: string): string {
  mkdirSync(join(root, name));
  writeFileSync(join(root, name, 'a.txt'), text);
  return join(root, name);
}
const text = (name: string) => readFileSync(join(root, name, 'a.txt'), 'utf8');

test('a folder takes the place of another, also by a name with a slash at its end', async () => {
  folderWith('there', 'old');
  await replaceFolder(folderWith('new', 'new'), `${join(root, 'there')}/`);
  expect(text('there')).toBe('new');
  expect(readdirSync(root)).toEqual(['there']);
});

test('when it fails, the old folder is there as before', async () => {
  await expect(replaceFolder(join(root, 'nowhere'), join(root, 'there'))).rejects.toThrow(/ENOENT/);
  expect(text('there')).toBe('new');
  expect(readdirSync(root)).toEqual(['there']);
});
