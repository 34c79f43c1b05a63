import '@tensorflow/tfjs-backend-cpu';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as core from '@mezzotint/core';
import { afterAll, expect, test } from 'vitest';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('./readme-example.generated.ts', import.meta.url));
afterAll(() => rmSync(example, { force: true }));

test("the README's example gives the numbers that its comments say", async () => {
  const code = /```ts\n([^`]+)```/.exec(readme)![1]!;
  writeFileSync(example, `${code}\nexport { macs, model, names, noise, parameters, state };\n`);
  const { macs, model, names, noise, parameters, state } = await import(example);
  // 784 * 1024 + 1024 + 1024 * 10 + 10, and the same without biases.
  expect([parameters, macs]).toEqual([814_090, 813_056]);
  expect(names).toEqual(['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']);
  expect(state['layers.0.weight'].shape).toEqual([1024, 784]);
  expect([...noise]).toEqual([...new core.TorchGenerator(42).randn(4)]);
  model.dispose();
});

test('the README names the classes that users meet', () => {
  for (const name of [
    'Module',
    'Param',
    'TorchGenerator',
    'NumpyRandomState',
    'deriveSeed',
    'describe',
    'WeightSource',
  ]) {
    expect(readme).toContain(name);
  }
});
