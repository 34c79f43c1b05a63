import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, expect, test } from 'vitest';
import * as guidance from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example gives the number that its comments say", async () => {
  await tf.setBackend('cpu');
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { estimate };\n`);
  const { estimate } = (await import(example)) as { estimate: tf.Tensor };
  const [plain, free] = [0.06 + 0.7, 0.06];
  const expected = plain + 2 * (plain - free) + 0.1 * plain;
  for (const v of estimate.dataSync()) expect(v).toBeCloseTo(expected, 6);
});

test('the table names every method, and only functions that exist', () => {
  const rows = readme.slice(readme.indexOf('## Methods'), readme.indexOf('"Digits"'));
  const first = [...rows.matchAll(/^\| (`[^|]+)\|/gm)].flatMap((row) => [...row[1]!.matchAll(/`(\w+)`/g)]);
  const named = first.map((match) => match[1]!).filter((name) => name !== 'rescale');
  for (const name of named) expect(guidance, name).toHaveProperty(name);
  // What is no method: parts that users combine, and helpers that the notes below the table show.
  const parts =
    /^(combine|project$|guided$|laplacian|fromPyramid|spherical|plusPlusScale|awayFrom|gridLike|layersAt|middle|intervalOf)/;
  const names =
    /^(createGuidance|guidances|guidanceNamed|guidanceOptionProblems|wholeGuidanceOptions|commonGuidanceOptions|composedInCode)$/;
  for (const name of Object.keys(guidance)) {
    if (!parts.test(name) && !names.test(name)) expect(named, name).toContain(name);
  }
});
