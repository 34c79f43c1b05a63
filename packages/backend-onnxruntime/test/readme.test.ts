import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import * as backend from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example runs and gives what its comment says", async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { found };\n`);
  const { found } = await import(example);
  // Each step leaves 1 - 0.1 * 8 = 1/5 of the distance to 3.
  expect(found).toBeCloseTo(3, 5);
});

test('the README names every class and function that is exported', () => {
  const internal = ['kernelNames'];
  for (const name of Object.keys(backend)) if (!internal.includes(name)) expect(readme).toContain(name);
});
