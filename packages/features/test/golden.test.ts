import { switchTo, testEngines } from '@mezzotint/backend/testing';
import {
  bits,
  fixtures,
  formulaTensor,
  formulaWeights,
  inceptionWeight,
  lpipsWeight,
  picture,
  plainWeight,
  relativeError,
} from '@mezzotint/testing';
import { ClipModel, clipTokenizer, clipVocabulary } from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  clipFeatures,
  DinoV2,
  type DinoV2Config,
  dinoV2Features,
  dinoV2FromShapes,
  dinoV2Weights,
  type FeatureNetwork,
  InceptionV3,
  inceptionFeatures,
  Lpips,
  pillowBicubic,
  type ResizeMethod,
  resizeImages,
  tensorflow1Bilinear,
  torchBicubic,
  torchBilinear,
} from '../src/index.js';

const { readJson, readTensors } = fixtures(new URL('./fixtures/', import.meta.url));
const golden = readTensors('features.safetensors');
const { shapes } = readJson<{ shapes: Record<string, Record<string, number[]>> }>('features.json');
const sizes = { small: [40, 56], large: [330, 310] } as const;
const pictures = Object.entries(sizes).map(([name, [h, w]]) => ({
  data: picture(name, h, w),
  shape: [1, h, w, 3] as const,
}));
/** Pictures of this file as tensors of the engine in force. */
const pictureAt = (i: number) => tf.tensor4d(pictures[i]!.data, [...pictures[i]!.shape], 'int32');
const expected = (name: string) => golden[name]!.data as Float32Array;

const engines = await testEngines();
/** Engines that run 5.7 G multiply-adds in seconds; the smaller networks and one small picture run on every engine. */
const fast = engines.filter((engine) => !['cpu', 'wasm'].includes(engine));

async function dataOf(network: FeatureNetwork, images: tf.Tensor4D) {
  const before = tf.memory().numTensors;
  const output = network.forward(images);
  expect(tf.memory().numTensors - before).toBe(Object.keys(output).length);
  const [features, logits] = [await output.features.data(), await output.logits?.data()];
  expect(features.length).toBe(network.dimension);
  tf.dispose(output);
  return { features, logits };
}

describe.each(engines)('on %s', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  const methods = {
    tensorflow1: [tensorflow1Bilinear, false],
    'torch-bilinear': [torchBilinear, false],
    'torch-bicubic': [torchBicubic, false],
    'pillow-float': [pillowBicubic, false],
    'pillow-bytes': [pillowBicubic, true],
  } satisfies Record<string, [ResizeMethod, boolean]>;
  test.each(Object.entries(methods))('resizes as %s, up and down', (name, [method, bytes]) => {
    for (const [way, from, to] of [
      ['up', [7, 9], [12, 10]],
      ['down', [17, 13], [5, 6]],
    ] as const) {
      const x = tf.tensor4d(picture('resize', from[0], from[1]), [1, ...from, 3], 'int32');
      const y = tf.transpose(resizeImages(x, to, method, { bytes }), [0, 3, 1, 2]).dataSync();
      const want = expected(`resize.${way}.${name}`);
      // PyTorch and Pillow round the centres to float32, by up to 1e-6 of a pixel here, and neighbours differ by up to 255
      // on each of two axes; bytes are whole numbers, rounded alike.
      const most = want.reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i]!)), 0);
      expect(most, way).toBeLessThan(bytes ? 1e-6 : 1e-3);
    }
  });

  // float32 through a few layers on both sides: 1e-4 is what the project promises.
  test.each([
    ['dinov2', 'exact'],
    ['dinov2-gated', 'exact'],
    ['dinov2-registers', 'antialias'],
    ['dinov2-offset', 'offset'],
  ] as const)('%s: transformers’ output', async (key, stretching) => {
    const own = shapes[key === 'dinov2-offset' ? 'dinov2' : key]!;
    const file = Object.fromEntries(
      Object.entries(own).map(([name, shape]) => [name, formulaTensor(name, shape, plainWeight)]),
    );
    const source = dinoV2Weights(file);
    const config: DinoV2Config = { ...dinoV2FromShapes(source, { headWidth: 16, layout: 'transformers' }), stretching };
    const network = dinoV2Features(key, await new DinoV2(config).load(source));
    for (const i of key === 'dinov2-offset' ? [0] : [0, 1]) {
      const { features } = await dataOf(network, pictureAt(i));
      expect(relativeError(features, expected(`${key}.${i}`))).toBeLessThan(1e-4);
    }
    network.dispose();
  });

  test('CLIP: transformers’ pictures and texts, and a text of more than 77 tokens keeps its end', async () => {
    const config = {
      text: {
        ...{ vocabSize: 49408, positions: 77, pooledToken: 49407, projection: 24, width: 16, mlpWidth: 24 },
        ...{ layers: 2, heads: 2, activation: 'quick' as const, epsilon: 1e-5 },
      },
      vision: {
        ...{ imageSize: 32, patchSize: 8, channels: 3, projection: 24, width: 32, mlpWidth: 48, layers: 2, heads: 2 },
        ...{ activation: 'quick' as const, epsilon: 1e-5 },
      },
    } as const;
    const model = new ClipModel(config);
    await model.load(formulaWeights(model, plainWeight));
    const network = clipFeatures('clip', model, clipTokenizer(await clipVocabulary()));
    for (const i of [0, 1]) {
      const { features } = await dataOf(network, pictureAt(i));
      // A byte that rounds the other way in the resizing moves the input by 1/255.
      expect(relativeError(features, expected(`clip.${i}`))).toBeLessThan(1e-3);
    }
    const texts = ['a photo of a cat', 'a photo of '.repeat(25), 'a photo of '.repeat(40)];
    const embeds = network.embedText!(texts).arraySync();
    expect(relativeError(embeds[0]!, expected('clip.text'))).toBeLessThan(1e-4);
    expect(relativeError(embeds[1]!, expected('clip.long-text'))).toBeLessThan(1e-4);
    expect(relativeError(embeds[2]!, embeds[1]!)).toBeLessThan(1e-6);
    network.dispose();
  });
});

describe.each(fast)('large networks on %s', (engine) => {
  const inception = new InceptionV3({ classes: 1008, pooling: 'tensorflow' });
  beforeAll(async () => {
    await switchTo(engine);
    await inception.load(formulaWeights(inception, inceptionWeight));
  });

  // 48 layers in float32 on both sides.
  test('Inception: every layer of torch-fidelity, its logits without bias, and clean-fid’s resizing', async () => {
    for (const i of [0, 1]) {
      for (const layer of [64, 192, 768, 2048] as const) {
        const { features, logits } = await dataOf(inceptionFeatures('inception', inception, { layer }), pictureAt(i));
        expect(relativeError(features, expected(`inception.${i}.${layer}`)), `${layer}`).toBeLessThan(1e-4);
        expect(relativeError(logits!, expected(`inception.${i}.logits_unbiased`))).toBeLessThan(1e-4);
      }
      const clean = inceptionFeatures('inception-clean', inception, { preprocessing: 'clean' });
      const { features } = await dataOf(clean, pictureAt(i));
      expect(relativeError(features, expected(`inception-clean.${i}.2048`))).toBeLessThan(1e-4);
    }
  });

  test('Inception: pytorch-fid’s blocks', async () => {
    const io = readTensors('fid-inception-v3/io.safetensors');
    const bytes = new Uint8Array(io['in.image_uint8']!.data.buffer); // the helper reads every type as float32
    const images = tf.tidy(() => tf.transpose(tf.tensor4d(bytes, [2, 3, 64, 64], 'int32'), [0, 2, 3, 1]));
    const pool = inceptionFeatures('inception-pytorch', inception, { preprocessing: 'pytorch' });
    const { features } = pool.forward(images);
    expect(relativeError(await features.data(), io['out.pool3']!.data)).toBeLessThan(1e-4);
    tf.tidy(() => {
      const x = tf.sub(tf.div(resizeImages(images, [299, 299], torchBilinear), 127.5), 1) as tf.Tensor4D;
      for (const [i, map] of inception.maps(x).slice(0, 3).entries()) {
        const { mean, variance } = tf.moments(map, [1, 2]);
        expect(relativeError(mean.dataSync(), io[`out.block${i}.channel_mean`]!.data)).toBeLessThan(1e-4);
        expect(relativeError(tf.sqrt(variance).dataSync(), io[`out.block${i}.channel_std`]!.data)).toBeLessThan(1e-4);
      }
    });
  });

  test('torchvision’s pooling', async () => {
    const network = new InceptionV3({ classes: 1000, pooling: 'torchvision' });
    const weights = formulaWeights(network, inceptionWeight);
    await network.load({
      ...weights,
      'AuxLogits.fc.bias': { shape: [1], data: new Float32Array(1) },
      'Mixed_5b.branch1x1.bn.num_batches_tracked': { shape: [], data: new Int32Array(1) },
    });
    const features = inceptionFeatures('inception', network, { preprocessing: 'pytorch' });
    expect(features.recipe).toMatch(/not FID/);
    const { features: pool, logits } = features.forward(pictureAt(0));
    expect(relativeError(await pool.data(), expected('torchvision.0.2048'))).toBeLessThan(1e-4);
    const biased = network.logits(pool, { bias: true });
    expect(relativeError(await biased.data(), expected('torchvision.0.logits'))).toBeLessThan(1e-4);
    tf.dispose([pool, logits!, biased]);
    network.dispose();
  });

  test('LPIPS: the package’s distances, and the squared distance of its features', async () => {
    const network = new Lpips();
    await network.load(formulaWeights(network, lpipsWeight));
    const [a, b, c] = ['a', 'b', 'c'].map((name) => {
      const bytes = tf.tensor4d(picture(name, 48, 40), [1, 48, 40, 3], 'int32');
      return tf.sub(tf.div(bytes, 127.5), 1) as tf.Tensor4D;
    }) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    for (const [other, name] of [
      [b, 'lpips.ab'],
      [c, 'lpips.ac'],
    ] as const) {
      const want = expected(name)[0]!;
      expect(Math.abs(network.forward(a, other).dataSync()[0]! / want - 1)).toBeLessThan(1e-4);
      const apart = tf.sum(tf.squaredDifference(network.embed(a), network.embed(other))).dataSync()[0]!;
      expect(Math.abs(apart / want - 1)).toBeLessThan(1e-4);
    }
    network.dispose();
  });
});

test('the formula gives the check values of fid-inception-v3', () => {
  const { formula } = readJson<{ formula: { check: Record<string, number[]> } }>('fid-inception-v3/origin.json');
  for (const [name, values] of Object.entries(formula.check)) {
    const shape = new Map(
      [...new InceptionV3({ classes: 1008, pooling: 'tensorflow' }).params()].map(([key, p]) => [key, p.fileShape]),
    ).get(name)!;
    const at = bits(name);
    const rule = inceptionWeight(name, shape);
    expect(values.map((_, i) => Math.fround(rule(2 * (at(i) / 2 ** 32) - 1)))).toEqual(values);
  }
});
