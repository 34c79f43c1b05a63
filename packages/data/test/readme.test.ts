import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import * as data from '../src/index.js';
import { temporaryFolder } from './temporary-folder.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example runs and does what its comments say", async () => {
  const folder = await temporaryFolder();
  const code = /```ts\n([^`]+)```/
    .exec(readme)![1]!
    .replace(/'(\w+\.png)'/g, (_, name) => JSON.stringify(join(folder, name)));
  writeFileSync(example, `${code}\nexport { batch, bytes, drawn, light, same };\n`);
  const { batch, bytes, drawn, light, same } = await import(example);
  expect(batch.shape).toEqual([2, 8, 8, 1]);
  expect([...batch.labels].sort()).toEqual([0, 1]);
  expect(same.labels).toEqual(batch.labels);
  expect(Buffer.compare(Buffer.from(same.images.buffer), Buffer.from(batch.images.buffer))).toBe(0);
  expect(light.every((value: number) => value === light[0] && value > 0.68 && value < 0.7)).toBe(true); // (215 - 127.5) / 127.5
  expect(await data.readPngText(join(folder, 'dark.png'))).toEqual({ recipe: '{"seed":1}' });
  expect(await data.readImage(join(folder, 'dark.png'))).toEqual(drawn);
  expect(bytes).toBeLessThan(100);
});

test('the README names every function', () => {
  for (const name of Object.keys(data)) expect(readme).toContain(name);
});
