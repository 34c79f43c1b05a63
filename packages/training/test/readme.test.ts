import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test, vi } from 'vitest';
import * as training from '../src/index.js';
import * as node from '../src/node.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test('the README’s example runs and trains three steps', async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)?.[1] ?? '';
  // The package is itself here: its own name leads to its source.
  writeFileSync(example, code.replace("'@mezzotint/training'", "'../src/index.js'"));
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  await import(example);
  const lines = log.mock.calls;
  log.mockRestore();
  expect(lines.map(([step]) => step)).toEqual([1, 2, 3]);
  // The UNet's last layer starts at zero, so the first loss is the mean square of 256 normals: 1 within 5 / sqrt(128).
  expect(Math.abs((lines[0]![1] as number) - 1)).toBeLessThan(0.45);
});

test('the README names every function and class that the package exports', () => {
  const names = [...Object.keys(training), ...Object.keys(node)];
  expect(names.filter((name) => !readme.includes(name))).toEqual([]);
});
