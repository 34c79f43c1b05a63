import { readFileSync } from 'node:fs';
import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { kernelNames, register } from '../src/register.js';

register();
const { lowered, handedOver } = kernelNames();

/** The names in code quotes in the rows of the README's table of kernels whose first cell begins so. */
function listed(how: string): string[] {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const table = readme.slice(readme.indexOf('## Kernels'));
  const rows = table.split('\n').filter((line) => line.startsWith(`| ${how}`));
  return rows.flatMap((row) => [...row.matchAll(/`(\w+)`/g)].map(([, name]) => name!)).sort();
}

test('every kernel of the cpu and wasm backends is there', () => {
  const own = new Set(tf.getKernelsForBackend('onnxruntime').map(({ kernelName }) => kernelName));
  for (const backend of ['cpu', 'wasm']) {
    const missing = tf.getKernelsForBackend(backend).filter(({ kernelName }) => !own.has(kernelName));
    expect(missing.map(({ kernelName }) => kernelName)).toEqual([]);
  }
});

test('the README lists the kernels that run in graphs, and those that the cpu backend runs', () => {
  expect(listed('in the graph')).toEqual(lowered);
  expect(listed('on cpu')).toEqual(handedOver);
});
