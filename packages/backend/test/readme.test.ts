import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { ENGINE_NAMES } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example runs and gives what its comments say", async () => {
  const code = /```ts\n([^`]+(?:`[^`]+`[^`]*)*?)```/.exec(readme)![1]!.replace('@mezzotint/backend', '../src/index.js');
  writeFileSync(example, `${code}\nexport { name, slope, table };\n`);
  const { name, slope, table } = await import(example);
  expect(ENGINE_NAMES).toContain(name);
  expect(slope).toBe(6);
  expect(table.map((report: { name: string }) => report.name)).toEqual([...ENGINE_NAMES]);
});

test('the README names every engine', () => {
  for (const name of ENGINE_NAMES) expect(readme).toContain(`\`${name}\``);
});
