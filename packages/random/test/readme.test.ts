import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test, vi } from 'vitest';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test('the README’s example prints the numbers that its comments say, which are PyTorch’s and NumPy’s', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const code = /```ts\n([\s\S]+?)```/.exec(readme)![1]!;
  writeFileSync(example, code.replace("'@mezzotint/random'", "'../src/index.js'"));
  await import(example);
  const said = code.split('\n').filter((line) => line.startsWith('console.log'));
  for (const [i, values] of log.mock.calls.entries()) {
    const numbers = values.flatMap((value) => (typeof value === 'boolean' ? [value] : [...value]));
    expect(numbers.join(', ').replace('true, true', 'true true')).toBe(said[i]!.split('// ')[1]);
  }
  expect(log.mock.calls).toHaveLength(3);
});
