import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Flux, fluxFromDiffusers, MMDiT, mmditFromDiffusers } from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';

// diffusers' outputs (tooling/golden/scripts/mmdit.py); its own names are translated by `weights`, and those folders are
// run by `pnpm golden`. float32 on both sides, with weights that amplify rounding: some 1e-6 to 1e-5; the promise is 1e-4.
describe.each(await testEngines())('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  test.each(['sd3', 'sd35'])('diffusers’ output: %s', async (name) => {
    const io = readTensors(`${name}/io.safetensors`);
    const given = <T extends tf.Tensor>(key: string) => toTensor(io[key]!) as T;
    const weights = readTensors(`${name}/model.safetensors`);
    const model = await new MMDiT(mmditFromDiffusers(readJson(`${name}/config.json`))).load(weights);
    const [x, time] = [given<tf.Tensor4D>('in.hidden_states'), given<tf.Tensor1D>('in.timestep')];
    const [context, pooled] = [
      given<tf.Tensor3D>('in.encoder_hidden_states'),
      given<tf.Tensor2D>('in.pooled_projections'),
    ];
    const before = tf.memory().numTensors;
    const out = model.forward(x, time, { context, pooled });
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), given('out.sample').dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });

  test.each(['flux-dev', 'flux-schnell'])('diffusers’ output: %s, as packed tokens and as images', async (name) => {
    const io = readTensors(`${name}/io.safetensors`);
    const given = <T extends tf.Tensor>(key: string) => toTensor(io[key]!) as T;
    const weights = readTensors(`${name}/model.safetensors`);
    const model = await new Flux(fluxFromDiffusers(readJson(`${name}/config.json`))).load(weights);
    const [tokens, time] = [given<tf.Tensor3D>('in.hidden_states'), given<tf.Tensor1D>('in.timestep')];
    const inputs = {
      context: given<tf.Tensor3D>('in.encoder_hidden_states'),
      pooled: given<tf.Tensor2D>('in.pooled_projections'),
      ...(io['in.guidance'] && { guidance: given<tf.Tensor1D>('in.guidance') }),
    };
    const positions = { text: given('in.txt_ids'), image: given('in.img_ids') };
    const expected = given('out.sample');
    const before = tf.memory().numTensors;
    const out = model.onTokens(tokens, time, { ...inputs, positions });
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), expected.dataSync())).toBeLessThan(1e-4);
    // A token is (c ph pw) of a patch, and the positions are those of a grid of 2 x 3: written here in rank 6.
    const images = (t: tf.Tensor) =>
      tf.reshape(tf.transpose(tf.reshape(t, [2, 2, 3, 2, 2, 2]), [0, 1, 4, 2, 5, 3]), [2, 4, 6, 2]) as tf.Tensor4D;
    const image = model.forward(images(tokens), time, inputs);
    expect(relativeError(image.dataSync(), images(expected).dataSync())).toBeLessThan(1e-4);
    model.dispose();
  });
});

test('fresh positions are those that diffusers computes', async () => {
  await switchTo('cpu');
  const { data } = readTensors('sd3/model.safetensors').pos_embed!;
  const model = new MMDiT(mmditFromDiffusers(readJson('sd3/config.json'))).init(0);
  const ours = model.pos_embed.value.dataSync();
  // Theirs are computed in float32 where ours are in float64: angles below 9 with an error of 1e-6.
  expect(Math.max(...data.map((value, i) => Math.abs(value - ours[i]!)))).toBeLessThan(2e-6);
  model.dispose();
});
