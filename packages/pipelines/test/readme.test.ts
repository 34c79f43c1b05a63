import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readImage } from '@mezzotint/data';
import { afterAll, expect, test } from 'vitest';

const emoji = fileURLToPath(new URL('../../../models/emoji', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mezzotint-readme-'));
const example = fileURLToPath(new URL('./readme.generated.ts', import.meta.url));
afterAll(() => {
  rmSync(example, { force: true });
  rmSync(folder, { recursive: true, force: true });
});

test.each(['../README.md', '../../../README.md'])('the five lines of %s make a picture', async (path) => {
  const readme = readFileSync(new URL(path, import.meta.url), 'utf8');
  const code = [...readme.matchAll(/```ts\n([^`]+)```/g)]
    .map(([, text]) => text!)
    .find((text) => text.includes('openPipeline'))!;
  const statements = code.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('import'));
  expect(statements.length).toBeLessThanOrEqual(5);
  const out = join(folder, `${path.length}.png`);
  const quick = code
    .replace("'models/emoji'", JSON.stringify(emoji))
    .replace("'officer.png'", JSON.stringify(out))
    .replace('seed: 7', 'seed: 7, steps: 2');
  writeFileSync(example, quick);
  await import(`${example}?${path.length}`);
  const { height, width, data } = await readImage(out);
  expect([height, width]).toEqual([64, 64]);
  expect(new Set(data).size).toBeGreaterThan(20);
});
