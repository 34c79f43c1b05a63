import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import * as layers from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example runs and gives what its comments say", async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!.replace('@mezzotint/layers', '../src/index.js');
  writeFileSync(example, `${code}\nexport { half, names, y };\n`);
  const { half, names, y } = await import(example);
  expect(y.shape).toEqual([1, 8, 8, 32]);
  expect(names).toEqual(['norm.weight', 'norm.bias', 'conv.weight', 'conv.bias']);
  y.dispose();
  half.dispose();
});

test('the README names every export', () => {
  for (const name of Object.keys(layers)) expect(readme).toContain(name);
});
