import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';

/**
 * Runs the first TypeScript example of a package's README and gives what it logs, call by call.
 *
 * @param test `import.meta.url` of a test in the package's folder `test`
 * @param name the package, whose own name leads to its source
 * @param edit changes the example first, for example a path in it
 */
export async function runReadmeExample(
  test: string,
  name: string,
  edit: (code: string) => string = (code) => code,
): Promise<unknown[][]> {
  const readme = readFileSync(new URL('../README.md', test), 'utf8');
  const code = /```ts\n([\s\S]+?)```/.exec(readme)?.[1];
  if (code === undefined) throw new Error(`the README of ${name} has no example in TypeScript`);
  const example = fileURLToPath(new URL('./readme-example.generated.ts', test));
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  try {
    writeFileSync(example, edit(code.replace(`'${name}'`, "'../src/index.js'")));
    await import(/* @vite-ignore */ example);
    return log.mock.calls;
  } finally {
    log.mockRestore();
    rmSync(example, { force: true });
  }
}
