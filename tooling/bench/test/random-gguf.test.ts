import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Module, Param, zeros } from '@mezzotint/core';
import { readWeights } from '@mezzotint/weights/node';
import { expect, test } from 'vitest';
import { type GgufBlocks, writeRandomGguf } from '../src/random-gguf.js';

class Layer extends Module {
  readonly weight = new Param([64, 1024], { init: zeros, matrix: true });
  readonly norm = { weight: new Param([8], { init: zeros }) };
  readonly bias = new Param([8], { init: zeros });
}

test.each<GgufBlocks>(['Q4_0', 'Q8_0', 'F16'])('%s: matrices have the deviation 1 / sqrt(inputs)', async (blocks) => {
  const folder = mkdtempSync(join(tmpdir(), 'random-gguf-'));
  const path = join(folder, 'layer.gguf');
  writeRandomGguf(path, new Layer().params(), blocks, { 'general.architecture': 'flux' });
  const file = await readWeights(path);
  expect(file.tensors.get('weight')).toMatchObject({ dtype: blocks, shape: [64, 1024] });
  const { data } = await file.read('weight');
  const square = Float64Array.from(data).reduce((sum, x) => sum + x ** 2, 0) / data.length;
  // One exponent of float16 is within a factor of sqrt 2; the scales of blocks are nearer.
  expect(Math.abs(Math.log2(Math.sqrt(square) * Math.sqrt(1024)))).toBeLessThan(blocks === 'F16' ? 1 : 0.1);
  expect([...(await file.read('norm.weight')).data, ...(await file.read('bias')).data]).toEqual([
    ...Array(8).fill(1),
    ...Array(8).fill(0),
  ]);
  file.close();
  rmSync(folder, { recursive: true });
});
