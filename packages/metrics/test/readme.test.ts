import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import * as metrics from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example gives the numbers that its comments say", async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { fid, kid, scores };\n`);
  const { fid, kid, scores } = await import(example);
  expect(readme).toContain(`// ${fid.toFixed(2)}\n`);
  expect(readme).toContain(`// { value: ${kid.value.toFixed(3)}, standardError: ${kid.standardError.toFixed(3)} }\n`);
  expect(Object.keys(scores)).toEqual(['precision', 'recall', 'density', 'coverage']);
});

test('the README names every function', () => {
  for (const name of Object.keys(metrics)) expect(readme).toContain(name);
});
