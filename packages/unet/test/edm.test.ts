import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { describe as costOf, type HostTensor, type Module, TorchGenerator } from '@mezzotint/core';
import { checkGradients } from '@mezzotint/testing';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type AblationName,
  AblationUNet,
  type AblationUNetConfig,
  ablation,
  EDM,
  EDM2,
  edm2,
  edm2FromOriginal,
  edmFromOriginal,
  presets,
} from '../src/index.js';
import { readJson, readTensors, relativeError, toTensor } from './support/golden.js';
import { randomise } from './support/tiny.js';

const engines = await testEngines();

// float32 on both sides: rounding of some 50 layers gives relative errors near 1e-6; 1e-4 is what the project promises.
const tolerance = 1e-4;

/**
 * The weights of a golden, which origin.json says how to draw: from one stream, parameter after parameter in the reference's
 * order. So this tests the order of the parameters too, and the fixtures hold only what was not drawn (random frequencies).
 */
function weightsOf(model: Module, folder: string): Record<string, HostTensor> {
  const { seed, weights } = readJson<{ seed: number; weights: string }>(`${folder}/origin.json`);
  const gain = Number(/scalars \(gains\) ([\d.]+)/.exec(weights)![1]);
  const rng = new TorchGenerator(seed);
  const drawn = (name: string, shape: readonly number[]) => {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const size = fanIn * (shape[0] ?? 1);
    if (shape.length >= 2) return rng.randn(size).map((n) => (0.7 / Math.sqrt(fanIn)) * n);
    if (shape.length === 0) return rng.randn(1).map((n) => gain + 0.1 * n);
    return rng.randn(size).map((n) => (/norm\d?\.weight$/.test(name) ? 1 : 0) + 0.1 * n);
  };
  const state = model.init(0);
  const filters = [...state.params()].filter(([name]) => name.endsWith('resample_filter'));
  const trained = [...model.params()].filter(([, param]) => param.trainable);
  return {
    ...(folder.includes('ddpmpp') || folder.includes('dhariwal') ? {} : readTensors(`${folder}/buffers.safetensors`)),
    ...Object.fromEntries(
      filters.map(([name, { fileShape: shape, value }]) => [name, { shape, data: value.dataSync() as Float32Array }]),
    ),
    ...Object.fromEntries(trained.map(([name, { fileShape: shape }]) => [name, { shape, data: drawn(name, shape) }])),
  };
}

/** Inputs of a golden, in our layout. */
function inputsOf(folder: string) {
  const io = readTensors(`${folder}/io.safetensors`);
  const rows = io['in.class_labels'];
  const expected = (name: string) => toTensor(io[`out.${name}`]!).dataSync();
  return {
    x: toTensor(io['in.x']!) as tf.Tensor4D,
    sigma: toTensor(io['in.sigma']!) as tf.Tensor1D,
    augment: io['in.augment_labels'] && (toTensor(io['in.augment_labels']) as tf.Tensor2D),
    labels: rows
      ? { labels: tf.argMax(tf.tensor2d(rows.data, rows.shape as [number, number]), 1).toInt() as tf.Tensor1D }
      : {},
    expected,
  };
}

describe.each(engines)('on %s, the outputs of the references', (engine) => {
  beforeEach(async () => {
    await switchTo(engine);
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  test.each(['edm-ddpmpp', 'edm-ncsnpp', 'edm-dhariwal'])('%s', async (folder) => {
    const model = new EDM(edmFromOriginal(readJson(`${folder}/config.json`)));
    await model.load(weightsOf(model, folder));
    const { x, sigma, labels, augment, expected } = inputsOf(folder);
    const before = tf.memory().numTensors;
    const out = model.forward(x, sigma, labels);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), expected('D_x'))).toBeLessThan(tolerance);
    const augmented = model.forward(x, sigma, { ...labels, augment: augment! });
    expect(relativeError(augmented.dataSync(), expected('D_x_augment'))).toBeLessThan(tolerance);
    model.dispose();
  });

  test.each(['edm2-precond', 'edm2-precond-uncond'])('%s', async (folder) => {
    const model = edm2(edm2FromOriginal(readJson(`${folder}/config.json`)));
    await model.load(weightsOf(model, folder));
    const { x, sigma, labels, expected } = inputsOf(folder);
    const before = tf.memory().numTensors;
    const out = model.forward(x, sigma, labels);
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(relativeError(out.dataSync(), expected('D_x'))).toBeLessThan(tolerance);
    const logVariance = model.logVariance(tf.div(tf.log(sigma), 4));
    expect(relativeError(logVariance.dataSync(), expected('logvar'))).toBeLessThan(tolerance);
    if (labels.labels) {
      const none = model.forward(x, sigma, { labels: tf.fill([2], 10, 'int32') });
      expect(relativeError(none.dataSync(), expected('D_x_nolabel'))).toBeLessThan(tolerance);
    }
    model.dispose();
  });

  // Without any step the ablation's network is EDM's ADM, and with all of them it is EDM2's, to rounding.
  test('the ablation’s network with no step taken is ADM', async () => {
    const { unet, sigmaData } = edmFromOriginal(readJson('edm-dhariwal/config.json'));
    const adm = new EDM({ unet, sigmaData });
    const weights = weightsOf(adm, 'edm-dhariwal');
    const { imageSize, inChannels, classes, modelChannels, channelMult, embeddingMult, resBlocks, attentionSizes } =
      unet;
    const model = new EDM2(
      { sigmaData, logvarChannels: null },
      new AblationUNet({
        ...ablation.A.unet,
        ...{ imageSize, inChannels, classes, modelChannels, channelMult, embeddingMult, resBlocks, attentionSizes },
      }),
    );
    const names = Object.keys(weights).filter((name) => !/resample_filter|map_augment/.test(name));
    await model.load(Object.fromEntries(names.map((name) => [edm2Name(name), weights[name]!])));
    const { x, sigma, labels, expected } = inputsOf('edm-dhariwal');
    expect(relativeError(model.forward(x, sigma, labels).dataSync(), expected('D_x'))).toBeLessThan(tolerance);
    model.dispose();
    adm.dispose();
  });

  test('the ablation’s network with every step taken is EDM2', async () => {
    const folder = 'edm2-precond';
    const { unet, sigmaData, logvarChannels } = edm2FromOriginal(readJson(`${folder}/config.json`));
    const { imageSize, inChannels, classes, modelChannels, channelMult, resBlocks, attentionSizes, channelsPerHead } =
      unet;
    const model = new EDM2(
      { sigmaData, logvarChannels },
      new AblationUNet({
        ...ablation.G.unet,
        ...{ imageSize, inChannels, classes, modelChannels, channelMult, resBlocks, attentionSizes, channelsPerHead },
        embeddingMult: 2,
      }),
    );
    const reference = edm2(edm2FromOriginal(readJson(`${folder}/config.json`)));
    await model.load(weightsOf(reference, folder));
    const { x, sigma, labels, expected } = inputsOf(folder);
    expect(relativeError(model.forward(x, sigma, labels).dataSync(), expected('D_x'))).toBeLessThan(tolerance);
    model.dispose();
    reference.dispose();
  });
});

/** A key of EDM's ADM as the ablation's network spells it. */
function edm2Name(name: string): string {
  const renames: [RegExp, string][] = [
    [/^model\./, 'unet.'],
    [/map_layer0/, 'emb_noise'],
    [/map_layer1/, 'emb_layer1'],
    [/map_label/, 'emb_label'],
    [/\.conv([01])\./, '.conv_res$1.'],
    [/\.affine\./, '.emb_linear.'],
    [/\.skip\./, '.conv_skip.'],
    [/\.qkv\./, '.attn_qkv.'],
    [/\.proj\./, '.attn_proj.'],
  ];
  return renames.reduce((key, [from, to]) => key.replace(from, to), name);
}

/** The smallest networks that have every part. */
const tinyEdm = {
  img_resolution: 8,
  img_channels: 2,
  label_dim: 3,
  model_channels: 8,
  channel_mult: [1, 2],
  num_blocks: 1,
  attn_resolutions: [4],
  augment_dim: 2,
};
const tinyAblation: Omit<
  AblationUNetConfig,
  keyof (typeof ablation)['A']['unet'] & ('streamlined' | 'normalizedWeights' | 'pixelNorm' | 'magnitudePreserving')
> = {
  imageSize: 8,
  inChannels: 2,
  classes: 3,
  modelChannels: 8,
  channelMult: [1, 2],
  embeddingMult: 2,
  resBlocks: 1,
  attentionSizes: [4],
  channelsPerHead: 8,
  dropout: 0,
};

function tinyAblated(name: AblationName) {
  const { streamlined, normalizedWeights, pixelNorm, magnitudePreserving } = ablation[name].unet;
  return new AblationUNet({ ...tinyAblation, streamlined, normalizedWeights, pixelNorm, magnitudePreserving });
}

describe.each(engines)('on %s, gradients reach every parameter, and are right', (engine) => {
  beforeAll(() => switchTo(engine));

  const x = () => tf.tensor4d(new TorchGenerator(2).randn(2 * 8 * 8 * 2), [2, 8, 8, 2]);

  test.each([
    ['DDPM++', { model_type: 'SongUNet' }],
    [
      'NCSN++',
      { model_type: 'SongUNet', embedding_type: 'fourier', encoder_type: 'residual', resample_filter: [1, 3, 3, 1] },
    ],
    ['skips of the image on both sides', { model_type: 'SongUNet', encoder_type: 'skip', decoder_type: 'skip' }],
    ['ADM', {}],
  ])('EDM: %s', async (_, change) => {
    const model = new EDM(edmFromOriginal({ ...tinyEdm, ...change }));
    await randomise(model);
    // Softmax does not see what is the same for all keys; a third of qkv's bias is that, so it is looked at as a whole.
    const [images, sigma, labels] = [x(), tf.tensor1d([0.4, 3]), tf.tensor1d([0, 2], 'int32')];
    const augment = tf.tensor2d([0.3, -1, 0, 0.5], [2, 2]);
    await checkGradients(model, () => tf.mean(tf.square(model.forward(images, sigma, { labels, augment }))), {
      step: 1e-3,
    });
    model.dispose();
  });

  test('EDM2, with its uncertainty head', async () => {
    const { augment_dim: _, ...original } = tinyEdm;
    const model = edm2(edm2FromOriginal({ ...original, channels_per_head: 8, logvar_channels: 8 }));
    await randomise(model);
    const [images, sigma, labels] = [x(), tf.tensor1d([0.4, 3]), tf.tensor1d([0, 2], 'int32')];
    const loss = () =>
      tf.add(
        tf.mean(tf.square(model.forward(images, sigma, { labels }))),
        tf.mean(tf.square(model.logVariance(sigma))),
      ) as tf.Scalar;
    await checkGradients(model, loss, { step: 1e-3 });
    model.dispose();
  });

  test.each(['A', 'C', 'D', 'F', 'G'] as const)('the ablation’s configuration %s', async (name) => {
    const model = tinyAblated(name);
    await randomise(model);
    const [images, noise, labels] = [x(), tf.tensor1d([-0.3, 0.2]), tf.tensor1d([0, 2], 'int32')];
    await checkGradients(model, () => tf.mean(tf.square(model.forward(images, noise, { labels }))), { step: 1e-3 });
    model.dispose();
  });
});

describe('compute by EDM2’s convention, in G', () => {
  // Counted by the reference's own tool. It traces the products with the gains of all layers too, which is 0.3 % of ours.
  test.each([
    ['edm2-img512-xxs', 11.525],
    ['edm2-img512-xs', 45.498],
    ['edm2-img512-s', 101.918],
    ['edm2-img512-m', 180.786],
    ['edm2-img512-l', 282.101],
    ['edm2-img512-xl', 405.863],
    ['edm2-img512-xxl', 552.073],
  ])('%s', (name, counted) => {
    const preset = presets.find((preset) => preset.name === name)!;
    const { edm2Flops } = costOf(preset.build(), preset.inputs());
    expect(Math.abs(edm2Flops / 1e9 / counted - 1)).toBeLessThan(0.005);
  });

  // Printed in the paper's table 1; norms of A to E are counted there by the op, here by what they are made of.
  test.each([
    ['A', 110.4],
    ['B', 100.4],
    ['C', 100.3],
    ['D', 101.2],
    ['E', 101.2],
    ['F', 102.1],
    ['G', 102.2],
  ])('configuration %s', (name, printed) => {
    const preset = presets.find((preset) => preset.name === `edm2-ablation-${name.toLowerCase()}`)!;
    const { edm2Flops } = costOf(preset.build(), preset.inputs());
    expect(Math.abs(edm2Flops / 1e9 / printed - 1)).toBeLessThan(0.01);
  });
});

describe('what is refused', () => {
  const model = new EDM(edmFromOriginal(tinyEdm));
  const x = tf.zeros([2, 8, 8, 2]) as tf.Tensor4D;
  const labels = tf.tensor1d([0, 1], 'int32');

  test.each<[string, () => unknown, RegExp]>([
    ['one sigma for two images', () => model.forward(x, tf.tensor1d([1]), { labels }), /time: expected \[2\]/],
    ['no labels', () => model.forward(x, tf.tensor1d([1, 1])), /labels: expected int32 \[2\], one class in \[0, 4\)/],
    [
      'augmentation of another width',
      () => model.forward(x, tf.tensor1d([1, 1]), { labels, augment: tf.zeros([2, 9]) }),
      /augment: expected \[2, 2\], got \[2,9\]/,
    ],
    [
      'an unknown class',
      () => edmFromOriginal({ model_type: 'VPUNet' }),
      /model_type: expected SongUNet or DhariwalUNet/,
    ],
    [
      'everything at once',
      () =>
        new EDM(
          edmFromOriginal({
            ...tinyEdm,
            model_type: 'SongUNet',
            img_resolution: 9,
            resample_filter: [1, 2, 1],
            dropout: 2,
          }),
        ),
      /dropout: .*\n.*imageSize: .*\n.*resampleFilter: /s,
    ],
    [
      'a resampling filter of EDM2’s that nobody trained',
      () => edm2FromOriginal({ img_resolution: 8, img_channels: 1, label_dim: 0, resample_filter: [1, 3, 3, 1] }),
      /resample_filter: expected \[1,1\]/,
    ],
    [
      'a step of the ablation without the one before it',
      () => new AblationUNet({ ...ablation.C.unet, pixelNorm: true }),
      /pixelNorm: builds on normalizedWeights/,
    ],
    [
      'an uncertainty that the model lacks',
      () => new EDM2({ sigmaData: 0.5, logvarChannels: null }, tinyAblated('A')).logVariance(tf.tensor1d([1])),
      /no uncertainty head/,
    ],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message);
  });
});
