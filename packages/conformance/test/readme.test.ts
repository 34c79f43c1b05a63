import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { solvers } from '@mezzotint/schedulers';
import { afterAll, expect, test } from 'vitest';
import { claimsOf, convergence } from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example prints what the README says", async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  const printed = /```\n(my midpoint[^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { text };\n`);
  const { text } = (await import(example)) as { text: string };
  expect(text).toBe(printed.trim());
});

test('the observed orders of the README are what is observed, for every deterministic solver', async () => {
  for (const [name, entry] of Object.entries(solvers)) {
    if (entry.stochastic || /inverse|adaptive|consistency/.test(name)) continue;
    const row = new RegExp(`^\\| \`${name}\` +\\| (\\S+) +\\| (\\S+) `, 'm').exec(readme);
    const claims = claimsOf(entry.create() as Parameters<typeof claimsOf>[0]);
    const { order } = await convergence(claims.integrate, claims.kinds[0]!);
    expect(row, `${name} ${entry.order} ${order}`).not.toBeNull();
    expect(Number(row![1]), name).toBe(entry.order);
    // The README rounds to two digits.
    expect(Math.abs(order - Number(row![2])), `${name}: ${order}`).toBeLessThanOrEqual(0.00501);
  }
});
