import { switchTo, testEngines } from '@mezzotint/backend/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  AutoencoderKL,
  AutoencoderTiny,
  autoencoderKLFromDiffusers,
  autoencoderTinyFromDiffusers,
  VQModel,
  vqModelFromDiffusers,
} from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';

// float32 on both sides: rounding of some 30 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
const tolerance = 1e-4;

const image = (tensor: Parameters<typeof toTensor>[0]) => toTensor(tensor) as tf.Tensor4D;

describe.each(await testEngines())('on %s, the outputs of diffusers', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  /** Compares results with the golden outputs of the same names. */
  function compare(io: ReturnType<typeof readTensors>, results: Readonly<Record<string, tf.Tensor>>): void {
    for (const [name, result] of Object.entries(results)) {
      expect(relativeError(result.dataSync(), toTensor(io[`out.${name}`]!).dataSync()), name).toBeLessThan(tolerance);
    }
  }

  test.each(['autoencoder-kl-4ch', 'autoencoder-kl-16ch'])('%s', async (folder) => {
    const io = readTensors(`${folder}/io.safetensors`);
    const config = autoencoderKLFromDiffusers(readJson(`${folder}/config.json`));
    const model = await new AutoencoderKL(config).load(readTensors(`${folder}/model.safetensors`));
    const [x, z] = [image(io['in.sample']!), image(io['in.latent']!)];
    const before = tf.memory().numTensors;
    const { mean, logvar } = model.encode(x);
    expect(tf.memory().numTensors).toBe(before + 2);
    const decoded = model.decode(z);
    expect(tf.memory().numTensors).toBe(before + 3);
    compare(io, { mean, logvar, decoded });
    model.dispose();
  });

  test('vq-model', async () => {
    const io = readTensors('vq-model/io.safetensors');
    const model = await new VQModel(vqModelFromDiffusers(readJson('vq-model/config.json'))).load(
      readTensors('vq-model/model.safetensors'),
    );
    const x = image(io['in.sample']!);
    const before = tf.memory().numTensors;
    const latents = model.encode(x);
    const indices = model.quantize.nearest(latents);
    const quantized = model.quantize.forward(latents);
    const decoded = model.decode(latents);
    expect(tf.memory().numTensors).toBe(before + 4);
    compare(io, { latents, quantized, decoded });
    expect([...indices.dataSync()]).toEqual([...io['out.indices']!.data]);
    expect(relativeError(model.decodeIndices(indices).dataSync(), decoded.dataSync())).toBeLessThan(1e-6);
    model.dispose();
  });

  test('autoencoder-tiny', async () => {
    const io = readTensors('autoencoder-tiny/io.safetensors');
    const config = autoencoderTinyFromDiffusers(readJson('autoencoder-tiny/config.json'));
    const model = await new AutoencoderTiny(config).load(readTensors('autoencoder-tiny/model.safetensors'));
    const x = image(io['in.sample']!);
    const before = tf.memory().numTensors;
    const latents = model.encode(x);
    const decoded = model.decode(latents);
    expect(tf.memory().numTensors).toBe(before + 2);
    compare(io, { latents, decoded });
    model.dispose();
  });
});
