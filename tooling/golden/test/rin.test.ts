import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { RIN, rinFromOriginal } from '@mezzotint/rin';
import { fixtures, type RinOrigin, relativeError, rinWeights } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { adapterOf } from '../src/adapters/index.js';

// The package of an architecture may not use schedulers, so the samplers of RIN's goldens are compared here.
const { readJson, readTensors } = fixtures(new URL('../../../packages/rin/test/fixtures/', import.meta.url));
const names = ['rin', 'rin-uncond', 'rin-tape-cond'];

describe.each(await testEngines())('on %s', (engine) => {
  test.each(names)("four steps of the original's samplers, by RIN's recipe: %s", async (name) => {
    await switchTo(engine);
    const origin = readJson<RinOrigin & { readonly tolerance: { readonly ddpm: number } }>(`${name}/origin.json`);
    const model = await new RIN(rinFromOriginal(readJson(`${name}/config.json`))).load(rinWeights(origin));
    const io = readTensors(`${name}/io.safetensors`);
    const noises = tf.tensor(io['in.noises']!.data, [...io['in.noises']!.shape]); // NHWC there too
    const labels = model.config.classes === null ? {} : { y: tf.tensor1d(io['in.y']!.data, 'int32') };
    const outputs = await adapterOf('ImageTapeDenoiser')!.sample!(model, { noises, ...labels });
    // The original's first DDPM step cancels in float32 (gamma 6e-9): its origin.json allows 2e-3 for that.
    for (const [key, bar] of Object.entries({ ddim: 1e-4, ddpm: origin.tolerance.ddpm })) {
      const [ours, theirs] = [outputs[key]!.dataSync(), io[`out.${key}`]!.data];
      expect(relativeError(ours, theirs), key).toBeLessThan(bar);
    }
    tf.dispose([noises, labels, outputs]);
    model.dispose();
  });
});
