import { switchTo } from '@mezzotint/backend/testing';
import { dequantize, loadQuantized, type QuantizeReport } from '@mezzotint/backend-onnxruntime';
import type { Module, StateDict } from '@mezzotint/core';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  ClipModel,
  ClipTextModel,
  ClipTextModelWithProjection,
  ClipVisionModel,
  clipFromTransformers,
  clipTextFromTransformers,
  clipVisionFromTransformers,
  T5EncoderModel,
  t5FromTransformers,
} from '../src/index.js';
import { readJson, readTensors } from './support/golden.js';

const t5 = readTensors('t5-encoder/model.safetensors');
const table = t5['shared.weight'] ?? t5['encoder.embed_tokens.weight']!;

/** Models whose files need changing as they are read, and such a file of each. */
const models: readonly (readonly [string, () => Module, StateDict])[] = [
  [
    'ClipTextModel, with position ids',
    () => new ClipTextModel(clipTextFromTransformers(readJson('clip-text/config.json'))),
    {
      ...readTensors('clip-text/model.safetensors'),
      'embeddings.position_ids': { shape: [1, 16], data: Int32Array.from({ length: 16 }, (_, i) => i) },
    },
  ],
  [
    'ClipTextModelWithProjection',
    () => new ClipTextModelWithProjection(clipTextFromTransformers(readJson('clip-text-projection/config.json'))),
    readTensors('clip-text-projection/model.safetensors'),
  ],
  [
    'ClipVisionModel',
    () => new ClipVisionModel(clipVisionFromTransformers(readJson('clip-vision/config.json'))),
    readTensors('clip-vision/model.safetensors'),
  ],
  [
    'ClipModel',
    () => new ClipModel(clipFromTransformers(readJson('clip-model/config.json'))),
    readTensors('clip-model/model.safetensors'),
  ],
  [
    'T5EncoderModel, with the tied table twice',
    () => new T5EncoderModel(t5FromTransformers(readJson('t5-encoder/config.json'))),
    { ...t5, 'shared.weight': table, 'encoder.embed_tokens.weight': table },
  ],
];

describe('load options reach every text encoder', () => {
  beforeAll(() => switchTo('onnxruntime'));

  test.each(models)('%s: every parameter in 16 bits, two bytes a number', async (_, build, file) => {
    const model = build();
    const names = [...model.params().keys()];
    const numbers = [...model.params().values()].reduce((sum, { size }) => sum + size, 0);
    const report: QuantizeReport = await loadQuantized(model, file, { weights: 'float16' });
    expect(report.quantized).toEqual(names);
    expect(report.bytesAfter).toBe(2 * numbers);
    // What the engine holds, counted from its own memory.
    const held = dequantize(model);
    expect(held.quantized).toEqual(names);
    expect(held.bytesBefore).toBe(2 * numbers);
    model.dispose();
  });

  test.each(models)('%s: linear weights in 8 bits, all else in float32, to the byte', async (name, build, file) => {
    const model = build();
    await loadQuantized(model, file, { weights: 'int8', block: 16 });
    const stored = new Set<string>();
    let expected = 0;
    for (const [path, { shape, size }] of model.params()) {
      // A byte a number and a float32 scale for each block of 16 along the inputs.
      const fits = shape.length === 2 && shape[1]! % 16 === 0;
      if (fits) stored.add(path);
      expected += fits ? size + (4 * size) / 16 : 4 * size;
    }
    const held = dequantize(model);
    expect(new Set(held.quantized)).toEqual(stored);
    expect(stored.size > 0).toBe(name !== 'ClipVisionModel'); // Its maps are narrower than a block.
    expect(held.bytesBefore).toBe(expected);
    model.dispose();
  });

  test.each(models)('%s: each tensor is told when it is there', async (_, build, file) => {
    const model = build();
    const told: string[] = [];
    await model.load(file, { onTensor: (name, tensor, param) => told.push(`${name} ${tensor.size === param.size}`) });
    expect(told).toEqual([...model.params().keys()].map((name) => `${name} true`));
    expect(
      model.compare({ tensors: new Map(Object.entries(file).map(([n, t]) => [n, { ...t, dtype: 'float32' }])) }),
    ).toEqual({
      missing: [],
      unexpected: [],
      mismatched: [],
    });
    model.dispose();
  });
});
