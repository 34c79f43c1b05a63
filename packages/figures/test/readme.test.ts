import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readImage } from '@mezzotint/data';
import { afterAll, expect, test } from 'vitest';
import * as figures from '../src/index.js';
import { temporaryFolder } from './temporary-folder.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example draws both figures", async () => {
  const folder = await temporaryFolder();
  const code = /```ts\n([^`]+)```/
    .exec(readme)![1]!
    .replace(/'(\w+\.png)'/g, (_, name) => JSON.stringify(join(folder, name)));
  writeFileSync(example, `${code}\nexport { grid };\n`);
  const { grid } = await import(example);
  expect(await readImage(join(folder, 'grid.png'))).toEqual(grid);
  expect(grid.width).toBeGreaterThan(3 * 56 + 2 * 2);
  expect(await readImage(join(folder, 'loss.png'))).toMatchObject({ height: 540, width: 960, channels: 3 });
});

test('the README names every function', () => {
  for (const name of Object.keys(figures)) expect(readme).toContain(name);
});
