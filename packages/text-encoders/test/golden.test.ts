import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { type Module, type StateDict, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ClipModel,
  ClipTextModel,
  ClipTextModelWithProjection,
  ClipVisionModel,
  ClipVisionModelWithProjection,
  clipFromTransformers,
  clipTextFromTransformers,
  clipVisionFromTransformers,
  T5EncoderModel,
  t5FromTransformers,
} from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';

const engines = await testEngines();

// float32 on both sides: rounding of a few layers gives relative errors near 1e-6; 1e-4 is what the project promises.
const tolerance = 1e-4;

const activations = readJson<{
  ids: number[][];
  cases: { kind: 't5' | 'clip'; config: Record<string, unknown>; seed: number; out: number[] }[];
}>('activations.json');

/** Weights as text_encoders.py draws them, by name. */
function drawn(model: Module, seed: number): StateDict {
  const rng = new TorchGenerator(seed);
  const params = [...model.params()].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    params.map(([name, { fileShape: shape, size }]) => {
      const isScale = name.includes('norm') && name.endsWith('weight');
      return [name, { shape, data: rng.randn(size).map((n) => (isScale ? 1 + 0.1 * n : 0.5 * n)) }];
    }),
  );
}

function folder(name: string) {
  const io = readTensors(`${name}/io.safetensors`);
  return {
    config: readJson(`${name}/config.json`),
    weights: readTensors(`${name}/model.safetensors`),
    input: <T extends tf.Tensor>(key: string) => toTensor(io[`in.${key}`]!) as T,
    check: (key: string, got: tf.Tensor) => {
      expect(got.shape).toEqual(io[`out.${key}`]!.shape);
      expect(relativeError(got.dataSync(), io[`out.${key}`]!.data)).toBeLessThan(tolerance);
    },
  };
}

describe.each(engines)('on %s, the outputs of transformers', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  test('clip-text', async () => {
    const { config, weights, input, check } = folder('clip-text');
    const model = await new ClipTextModel(clipTextFromTransformers(config)).load(weights);
    const ids = input<tf.Tensor2D>('input_ids');
    const before = tf.memory().numTensors;
    const output = model.forward(ids, { skip: 1 });
    expect(tf.memory().numTensors).toBe(before + 3);
    check('last_hidden_state', output.lastHiddenState);
    check('penultimate', output.hiddenState);
    check('pooled', output.pooled);
    tf.dispose(output);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test.each([
    ['clip-vision', ClipVisionModel],
    ['clip-vision-projection', ClipVisionModelWithProjection],
  ] as const)('%s, as its folder is', async (name, Model) => {
    const { config, weights, input, check } = folder(name);
    const model = await new Model(clipVisionFromTransformers(config)).load(weights);
    const output = model.forward(input<tf.Tensor4D>('pixel_values'));
    check('last_hidden_state', output.lastHiddenState);
    if ('imageEmbeds' in output) check('image_embeds', output.imageEmbeds as tf.Tensor);
    else check('pooler_output', output.pooled);
    model.dispose();
  });

  test.each(activations.cases)('$kind with $config.feed_forward_proj$config.hidden_act', async (fixture) => {
    const { kind, config, seed, out } = fixture;
    const model =
      kind === 't5'
        ? new T5EncoderModel(t5FromTransformers(config))
        : new ClipTextModel(clipTextFromTransformers(config));
    await model.load(drawn(model, seed));
    const output = model.forward(tf.tensor2d(activations.ids, undefined, 'int32'));
    const states = 'lastHiddenState' in output ? output.lastHiddenState : output;
    expect(relativeError(states.dataSync(), Float32Array.from(out))).toBeLessThan(tolerance);
    model.dispose();
  });

  test('clip-text-projection', async () => {
    const { config, weights, input, check } = folder('clip-text-projection');
    const model = await new ClipTextModelWithProjection(clipTextFromTransformers(config)).load(weights);
    const ids = input<tf.Tensor2D>('input_ids');
    const before = tf.memory().numTensors;
    const output = model.forward(ids, { skip: 1 });
    expect(tf.memory().numTensors).toBe(before + 4);
    check('last_hidden_state', output.lastHiddenState);
    check('penultimate', output.hiddenState);
    check('text_embeds', output.textEmbeds);
    model.dispose();
  });

  test('clip-model', async () => {
    const { config, weights, input, check } = folder('clip-model');
    const model = await new ClipModel(clipFromTransformers(config)).load(weights);
    const [ids, pixels] = [input<tf.Tensor2D>('input_ids'), input<tf.Tensor4D>('pixel_values')];
    const before = tf.memory().numTensors;
    const output = model.forward(ids, pixels);
    expect(tf.memory().numTensors).toBe(before + 3);
    check('text_embeds', output.textEmbeds);
    check('image_embeds', output.imageEmbeds);
    check('logits_per_image', output.logitsPerImage);
    model.dispose();
  });

  test('clip-model’s image tower alone, with and without projection', async () => {
    const { config, weights, input, check } = folder('clip-model');
    const vision = clipVisionFromTransformers(config);
    const part = (prefix: string) => Object.entries(weights).filter(([name]) => name.startsWith(prefix));
    const tower = part('vision_model.');
    const projecting = await new ClipVisionModelWithProjection(vision).load(
      Object.fromEntries([...tower, ...part('visual_projection.')]),
    );
    const pixels = input<tf.Tensor4D>('pixel_values');
    const before = tf.memory().numTensors;
    const output = projecting.forward(pixels, { skip: 2 });
    expect(tf.memory().numTensors).toBe(before + 4);
    // The golden has embeddings of length 1; the tower alone leaves their length.
    check('image_embeds', tf.div(output.imageEmbeds, tf.norm(output.imageEmbeds, 2, 1, true)));
    // As transformers 5 names them when the tower is saved alone.
    const bare = tower.map(([name, tensor]) => [name.slice('vision_model.'.length), tensor] as const);
    const plain = await new ClipVisionModel({ ...vision, projection: null }).load(Object.fromEntries(bare));
    expect(relativeError(plain.forward(pixels).pooled.dataSync(), output.pooled.dataSync())).toBe(0);
    // All layers skipped: the class token and the patches after their norm.
    expect(output.hiddenState.shape).toEqual([2, 17, 32]);
    expect(relativeError(output.hiddenState.dataSync(), output.lastHiddenState.dataSync())).toBeGreaterThan(0.1);
    projecting.dispose();
    plain.dispose();
  });

  test('t5-encoder', async () => {
    const { config, weights, input, check } = folder('t5-encoder');
    const model = await new T5EncoderModel(t5FromTransformers(config)).load(weights);
    const [ids, mask] = [input<tf.Tensor2D>('input_ids'), input<tf.Tensor2D>('attention_mask')];
    const before = tf.memory().numTensors;
    const states = model.forward(ids);
    expect(tf.memory().numTensors).toBe(before + 1);
    check('last_hidden_state', states);
    check('last_hidden_state_masked', model.forward(ids, { mask }));
    model.dispose();
  });
});

test('the goldens tell the details apart', async () => {
  await switchTo('cpu');
  const { config, weights, input } = folder('clip-text');
  const right = clipTextFromTransformers(config);
  const ids = input<tf.Tensor2D>('input_ids');
  const expected = readTensors('clip-text/io.safetensors')['out.last_hidden_state']!.data;
  for (const wrong of [{ activation: 'tanh' }, { heads: 2 }, { epsilon: 1e-2 }] as const) {
    const model = await new ClipTextModel({ ...right, ...wrong }).load(weights);
    expect(relativeError(model.forward(ids).lastHiddenState.dataSync(), expected)).toBeGreaterThan(2 * tolerance);
  }
});
