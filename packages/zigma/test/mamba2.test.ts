import { switchTo, testEngines } from '@mezzotint/backend/testing';
import type * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { Mamba2 } from '../src/mamba.js';
import { readTensors, relativeError, toTensor } from './support/golden.js';
import { tinyZigMa } from './support/tiny.js';

describe.each(await testEngines())('on %s', (engine) => {
  // float32 on both sides; 1e-4 is what the project promises.
  test('the mixer of Mamba-2 as in transformers, under the same keys', async () => {
    await switchTo(engine);
    const shape = { width: 12, expansion: 2, headWidth: 6, states: 5, taps: 4 };
    const mixer = new Mamba2({ ...tinyZigMa, ...shape, mixer: 'mamba-2' });
    await mixer.load(readTensors('mamba2/model.safetensors'));
    const io = readTensors('mamba2/io.safetensors');
    const y = mixer.forward(toTensor(io['in.x']!) as tf.Tensor3D);
    expect(relativeError(y.dataSync(), io['out.y']!.data)).toBeLessThan(1e-4);
    mixer.dispose();
  });
});
