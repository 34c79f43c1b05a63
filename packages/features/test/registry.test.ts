import { readFileSync } from 'node:fs';
import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { describe as describeCost, TorchGenerator } from '@mezzotint/core';
import { relativeError } from '@mezzotint/testing';
import { ClipModel, clipToTransformers, trainClipVocabulary } from '@mezzotint/text-encoders';
import { type ClassifierConfig, NoisyClassifier } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import {
  classifierFeatures,
  featureNetworkNamed,
  featureNetworks,
  InceptionV3,
  presets,
  readFeatures,
  whereToGet,
} from '../src/index.js';

beforeAll(() => switchTo('cpu'));

test('names are unique, each says where its weights are, and the README has all of them', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const names = featureNetworks.map((record) => record.name);
  expect(new Set(names).size).toBe(names.length);
  for (const record of featureNetworks) {
    expect(record.weights.length > 0 || ['classifier', 'clip'].includes(record.name)).toBe(true);
    expect(whereToGet(record)).toMatch(/https:|train made/);
    const { name } = record;
    const suffix = name.replace(/^(clip-vit|inception|dinov2-vit-[sblg]-14|dinov2-vit)/, '');
    const listed = readme.includes(`\`${name}\``) || readme.includes(`\`${suffix}\``);
    expect(listed, name).toBe(true);
  }
  expect(() => featureNetworkNamed('inceptoin')).toThrow(/expected one of inception, .*got 'inceptoin'/);
});

test('published sizes: as many parameters as the makers say', () => {
  // torchvision: 27,161,264 for Inception v3 with the auxiliary classifier (3,326,696), which is left out here; FID's has eight
  // classes more. Those of DINOv2 and of VGG16 (without its classifier, and with LPIPS's 1,472 weights) were counted on the classes of
  // transformers 5 and torchvision 0.29.
  const published = {
    ...{ 'inception-v3': 27_161_264 - 3_326_696, 'inception-v3-fid': 23_834_568 + 8 * 2049 },
    ...{ 'dinov2-vit-s-14': 22_056_576, 'dinov2-vit-b-14': 86_580_480, 'dinov2-vit-l-14': 304_368_640 },
    ...{ 'dinov2-vit-g-14': 1_136_480_768, 'dinov2-vit-s-14-reg': 22_058_112, 'dinov2-vit-b-14-reg': 86_583_552 },
    ...{ 'dinov2-vit-l-14-reg': 304_372_736, 'dinov2-vit-g-14-reg': 1_136_486_912, 'lpips-vgg16': 14_714_688 + 1472 },
  };
  const costs = presets.map(({ name, build, inputs }) => [name, describeCost(build(), inputs())] as const);
  expect(Object.fromEntries(costs.map(([name, { parameters }]) => [name, parameters]))).toEqual(published);
  // torchvision prints 5.71 G multiply-adds for Inception v3 at 299 x 299.
  expect(Object.fromEntries(costs)['inception-v3']!.macs / 1e9).toBeCloseTo(5.71, 2);
});

test('files of another network are refused before anything is loaded', async () => {
  const open = (name: string, weights: object[]) => featureNetworkNamed(name).open({ weights: weights as never });
  await expect(open('inception', [])).rejects.toThrow(/expected one file of weights, got 0/);
  await expect(open('dinov2-vit-s-14', [{}])).rejects.toThrow(/no DINOv2: expected cls_token/);
  await expect(open('clip-vit-l-14', [{}])).rejects.toThrow(/CLIPModel with both towers/);
  await expect(open('classifier', [{}])).rejects.toThrow(/config.json of train/);
  const wide = { shape: [1, 1, 768], data: new Float32Array(768) };
  const table = { shape: [1, 1370, 768], data: new Float32Array(0) };
  const patch = { shape: [768, 3, 14, 14], data: new Float32Array(0) };
  await expect(
    open('dinov2-vit-s-14', [{ cls_token: wide, pos_embed: table, 'patch_embed.proj.weight': patch }]),
  ).rejects.toThrow(/expected 12 layers, 384 wide, 0 registers, got 0 layers, 768 wide/);
});

test('a small classifier: features and logits of the model itself, of any size and colour', async () => {
  const config: ClassifierConfig = {
    ...{ imageSize: 8, inChannels: 1, modelChannels: 8, channelMult: [1, 2], resBlocks: 1, attentionResolutions: [2] },
    ...{ heads: { count: 1 }, attentionOrder: 'new', timeConditioning: 'scale-shift', resampling: 'pool', groups: 4 },
    ...{ dropout: 0, pool: 'attention', classes: 3 },
  };
  const model = new NoisyClassifier(config).init(1);
  const network = classifierFeatures(model, { size: 8, channels: 1 });
  const grey = Uint8Array.from({ length: 2 * 64 }, (_, i) => (i * 71) % 256);
  const picture = { count: 2, height: 8, width: 8 };
  const before = tf.memory().numTensors;
  const read = await readFeatures(network, { ...picture, images: grey, channels: 1 });
  expect(tf.memory().numTensors).toBe(before);
  const itself = tf.tidy(() => {
    const x = tf.sub(tf.div(tf.tensor4d(grey, [2, 8, 8, 1]), 127.5), 1) as tf.Tensor4D;
    return model.forward(x, tf.zeros([2])).dataSync();
  });
  expect(relativeError(read.logits!.data, itself)).toBeLessThan(1e-6);
  const coloured = Uint8Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)]!);
  const again = await readFeatures(network, { ...picture, images: coloured, channels: 3 });
  expect(relativeError(again.features.data, read.features.data)).toBeLessThan(1e-6);
  expect(network.recipe).toMatch(/not FID/);
  network.dispose();
  const file = { format: 'mezzotint/classifier@1', architecture: 'NoisyClassifier', network: config };
  const recipeOf = async (seed: number) => {
    const weights = [await new NoisyClassifier(config).init(seed).save()];
    const opened = await featureNetworkNamed('classifier').open({
      ...{ weights, config: { ...file, image: { size: 8, channels: 1 } } },
    });
    opened.dispose();
    return opened.recipe;
  };
  expect(await recipeOf(1)).toMatch(/; weights [0-9a-f]{16}$/);
  expect(await recipeOf(1)).toBe(await recipeOf(1));
  expect(await recipeOf(2)).not.toBe(await recipeOf(1)); // of the same shape, trained otherwise
});

test('Inception is the same on every engine', async () => {
  const outputs: Float32Array[] = [];
  for (const engine of await testEngines()) {
    await switchTo(engine);
    const network = new InceptionV3({ classes: 4, pooling: 'tensorflow' }).init(1);
    const x = tf.tensor4d(new TorchGenerator(2).rand(75 * 75 * 3), [1, 75, 75, 3]); // the smallest picture it can see
    const maps = network.maps(x);
    outputs.push(maps[3].dataSync() as Float32Array);
    tf.dispose([x, ...maps]);
    network.dispose();
  }
  await switchTo('cpu');
  // The same float32 sums of 48 layers in another order.
  for (const output of outputs) expect(relativeError(output, outputs[0]!)).toBeLessThan(1e-5);
});

test("one's own CLIP is opened with its own vocabulary, in its own size", async () => {
  const vocabulary = trainClipVocabulary(['a red cat', 'a blue cat', 'a red dog'], { size: 600 });
  const size = Object.keys(vocabulary.vocab).length;
  const tower = { width: 8, mlpWidth: 16, layers: 1, heads: 2, activation: 'quick', epsilon: 1e-5 } as const;
  const model = new ClipModel({
    text: { ...tower, vocabSize: size, positions: 8, pooledToken: size - 1, projection: 4 },
    vision: { ...tower, imageSize: 8, patchSize: 4, channels: 3, projection: 4 },
  }).init(1);
  const files = { weights: [await model.save()], config: clipToTransformers(model.config) };
  await expect(featureNetworkNamed('clip').open(files)).rejects.toThrow(/vocab.json and merges.txt/);
  const network = await featureNetworkNamed('clip').open({ ...files, vocabulary });
  expect(network.recipe).toMatch(/shorter side to 8 by Pillow bicubic.*texts cut to 8 tokens.*; weights [0-9a-f]{16}$/);
  const other = await new ClipModel(model.config).init(2).save();
  const recipes = await Promise.all(
    [files.weights, [other]].map(async (weights) => {
      const opened = await featureNetworkNamed('clip').open({ ...files, weights, vocabulary });
      opened.dispose();
      return opened.recipe;
    }),
  );
  expect(recipes[0]).toBe(network.recipe); // the same weights again
  expect(recipes[1]).not.toBe(network.recipe); // a CLIP of the same shape
  const texts = network.embedText!(['a red cat', 'a red dog', 'a red cat']);
  expect(texts.shape).toEqual([3, 4]);
  const [cat, dog, again] = tf.split(texts, 3).map((row) => Array.from(row.dataSync()));
  expect(again).toEqual(cat);
  expect(dog).not.toEqual(cat);
  const { features } = network.forward(tf.zeros([2, 12, 16, 3], 'int32') as tf.Tensor4D);
  expect(features.shape).toEqual([2, 4]);
});
