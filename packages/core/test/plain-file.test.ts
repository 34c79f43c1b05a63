import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { InvalidFileError } from '../src/index.js';
import { readPlainFile, readPlainText } from '../src/node.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint plain ü-'));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);

function problem(path: string, limit = 100): string {
  try {
    readPlainFile(path, limit);
  } catch (error) {
    expect(InvalidFileError.isInstance(error)).toBe(true);
    return (error as InvalidFileError).problem;
  }
  return 'was read';
}

test('reads a file, through a link too, and not one byte beyond the limit', () => {
  writeFileSync(at('a.txt'), 'ä'.repeat(50));
  symlinkSync(at('a.txt'), at('link'));
  expect(readPlainText(at('a.txt'), 100)).toBe('ä'.repeat(50));
  expect(readPlainFile(at('link'), 100)).toHaveLength(100);
  expect(problem(at('a.txt'), 99)).toBe('has 100 bytes, expected at most 99');
  writeFileSync(at('empty'), '');
  expect(readPlainFile(at('empty'), 0)).toHaveLength(0);
});

test('a byte order mark is no part of the text', () => {
  writeFileSync(at('marked.txt'), '\uFEFFa cat\n\uFEFFa dog');
  expect(readPlainText(at('marked.txt'), 100)).toBe('a cat\n\uFEFFa dog'); // only the first
});

test.skipIf(process.platform === 'win32')('special files are refused by their kind, without waiting', () => {
  execFileSync('mkfifo', [at('fifo')]);
  symlinkSync('/dev/zero', at('endless'));
  symlinkSync(at('loop'), at('loop'));
  symlinkSync(at('gone'), at('dangling'));
  mkdirSync(at('folder'));
  expect(problem(at('fifo'))).toBe('is a FIFO (named pipe); expected a plain file');
  expect(problem(at('endless'))).toBe('is a device; expected a plain file');
  expect(problem(at('loop'))).toBe('is a link that leads back to itself');
  expect(problem(at('dangling'))).toBe('no such file or folder');
  expect(problem(at('folder'))).toBe('is a folder; expected a plain file');
  expect(problem(at('x'.repeat(300)))).toBe('the name is too long');
  expect(problem(join(at('a.txt'), 'b'))).toBe('is below a file, where a folder was expected');
});

test.skipIf(process.platform !== 'linux')('a file that says it is empty and is not is bounded too', () => {
  expect(readPlainText('/proc/self/status', 2 ** 20)).toContain('Name:');
  expect(problem('/proc/self/status', 10)).toBe('has more than 10 bytes');
});
