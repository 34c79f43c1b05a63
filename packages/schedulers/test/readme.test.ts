import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, test } from 'vitest';
import type { LogSnrCurve } from '../src/index.js';
import * as schedulers from '../src/index.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example makes a picture", async () => {
  await tf.setBackend('cpu');
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { picture };\n`);
  const { picture } = (await import(example)) as { picture: Float32Array };
  expect(picture.length).toBe(32 * 32 * 3);
  expect(picture.every((v) => Number.isFinite(v) && Math.abs(v) <= 1.001)).toBe(true);
});

test('the table of the README says what the registry says', () => {
  for (const [name, entry] of Object.entries(schedulers.solvers)) {
    const row = new RegExp(`^\\| \`${name}\`( \\\\?\\*)? +\\| (.*)$`, 'm').exec(readme);
    expect(row, name).not.toBeNull();
    const cells = row![2]!.split('|').map((cell) => cell.trim());
    expect(cells[0]).toBe(entry.about);
    expect(cells[1]).toBe(entry.paper);
    expect(cells[2]).toBe(entry.kinds.join(', '));
    expect(['–', String(entry.order)]).toContain(cells[3]);
    expect(cells[4]).toBe(String(entry.evaluations));
    expect(row![1] !== undefined).toBe(entry.offTable);
  }
});

test('what the README names exists', () => {
  const pieces = readme.slice(readme.indexOf('## How it fits'), readme.indexOf('## Solvers'));
  const names = [...pieces.matchAll(/`([a-zA-Z0-9]+)(\(\))?`/g)].map((match) => match[1]!);
  const types = ['NoiseSchedule', 'Parameterisation', 'TimeOf', 'Denoiser', 'NoiseSource', 'Solver', 'Sampler'];
  const words = ['vp', 've', 'flow', 'kind', 'AbortSignal', 'save', 'Float64Array', 'x', 'endShift', 'clock'];
  // Kinds of LogSnrCurve, which the type checks.
  words.push(...(['cosine', 'sigmoid'] satisfies LogSnrCurve['kind'][]));
  for (const name of names.filter((n) => !types.includes(n) && !words.includes(n))) {
    expect(schedulers, name).toHaveProperty(name);
  }
});
