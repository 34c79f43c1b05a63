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
  writeFileSync(example, `${code}\nexport { batch, digits, heldOut, same };\n`);
  const { batch, digits, heldOut, same } = await import(example);
  expect([digits.count, digits.height, digits.width, digits.channels]).toEqual([10_000, 28, 28, 1]);
  expect(heldOut.count).toBe(2000);
  expect(batch.shape).toEqual([100, 28, 28, 1]);
  expect(same.labels).toEqual(batch.labels);
  expect(Buffer.compare(Buffer.from(same.images.buffer), Buffer.from(batch.images.buffer))).toBe(0);
  expect(await data.readPngText(join(folder, 'digits.png'))).toEqual({ recipe: '{"seed":1}' });
  expect(await data.readImage(join(folder, 'digits.png'))).toMatchObject({ height: 582, width: 582, channels: 1 });
  expect(await data.readImage(join(folder, 'loss.png'))).toMatchObject({ height: 540, width: 960, channels: 3 });
});

test('the README names every function', () => {
  for (const name of Object.keys(data)) expect(readme).toContain(name);
});
