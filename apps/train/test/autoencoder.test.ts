import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openAutoencoder } from '@mezzotint/app';
import { runApp, writeImageFolder } from '@mezzotint/app/testing';
import {
  AutoencoderKL,
  adversarialLoss,
  generatorLoss,
  hingeDiscriminatorLoss,
  klLoss,
  l1Loss,
  PatchDiscriminator,
  sampleGaussian,
  VQModel,
} from '@mezzotint/autoencoders';
import { switchTo } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { Lpips } from '@mezzotint/features';
import { adamW, constantRate, train as training } from '@mezzotint/training';
import { writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainCommand } from '../src/command.js';
import { trainRun } from '../src/train-run.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-autoencoder-'));
const images = join(root, 'images');
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

const coder = {
  inChannels: 1,
  outChannels: 1,
  blockChannels: [4, 8],
  layersPerBlock: 1,
  latentChannels: 2,
  groups: 2,
  midAttention: true,
};
const scale = { scalingFactor: 1, shiftFactor: 0 };
const kl = { ...coder, ...scale, quantConv: true, postQuantConv: true };

function configFile(name: string, change: object): string {
  const file = join(root, `${name}.json`);
  const config = {
    task: 'autoencoder',
    data: { kind: 'folder', path: images, size: 8, channels: 1 },
    architecture: 'AutoencoderKL',
    network: kl,
    steps: 30,
    batchSize: 8,
    learningRate: { kind: 'constant', peak: 0.01 },
    ema: { decay: 0 },
    every: { log: 10, sample: 30, checkpoint: 30 },
    ...change,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

const logOf = (run: string): Record<string, number>[] =>
  readFileSync(join(run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

beforeAll(() => writeImageFolder(images));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('a KL autoencoder learns its images, shows reconstructions and leaves a model that opens', async () => {
  const run = join(root, 'kl');
  expect(await train('--config', configFile('kl', {}), '--run', run)).toMatchObject({ code: 0 });
  const log = logOf(run);
  expect(log.at(-1)!.loss).toBeLessThan(0.6 * log[0]!.loss!);
  expect(log.at(-1)!.reconstructionL1).toBeLessThan(0.5);
  expect(readdirSync(join(run, 'samples'))).toEqual(['step-0000030.png']);
  const { model, config } = await openAutoencoder(run);
  expect(model).toBeInstanceOf(AutoencoderKL);
  expect(config).toMatchObject({ architecture: 'AutoencoderKL', image: { size: 8, channels: 1 } });
});

test('a VQ autoencoder says how much of its codebook it uses', async () => {
  const run = join(root, 'vq');
  const change = { architecture: 'VQModel', network: { ...coder, ...scale, codes: 8, codeWidth: 2 }, steps: 10 };
  expect(await train('--config', configFile('vq', change), '--run', run)).toMatchObject({ code: 0 });
  const last = logOf(run).at(-1)!;
  expect(last.codesUsed).toBeGreaterThanOrEqual(1);
  expect(last.codePerplexity).toBeLessThanOrEqual(last.codesUsed! + 1e-9);
  expect((await openAutoencoder(run)).model).toBeInstanceOf(VQModel);
});

const critic = { start: 2, weight: 0.5, channels: 4, layers: 1 };
const tiny = {
  ...{ inChannels: 1, outChannels: 1, latentChannels: 2, encoderChannels: 6, decoderChannels: 6 },
  ...{ encoderBlocks: [1, 1], decoderBlocks: [1, 1], latentMagnitude: 3, latentShift: 0.5, ...scale },
};

test.each<[string, object]>([
  ['AutoencoderKL', { network: kl, adversarial: critic }],
  ['Autoencoder', { network: coder, adversarial: { ...critic, loss: 'vanilla' } }],
  ['AutoencoderTiny', { network: tiny, adversarial: { ...critic, adaptive: false } }],
  [
    'VQModel',
    { network: { ...coder, ...scale, codes: 8, codeWidth: 2 }, codebook: { kind: 'ema' }, adversarial: critic },
  ],
])('%s learns against a discriminator, which waits for its start', async (architecture, change) => {
  const run = join(root, `gan-${architecture}`);
  const every = { log: 1, sample: 5, checkpoint: 5 };
  const file = configFile('gan', { architecture, ...change, steps: 5, every });
  expect(await train('--config', file, '--run', run)).toMatchObject({ code: 0 });
  const log = logOf(run);
  for (const { step, ...line } of log) {
    expect('discriminatorLoss' in line).toBe(step! > critic.start);
    expect('generatorLoss' in line).toBe(step! > critic.start);
  }
  expect(log.at(-1)!.discriminatorLoss).toBeGreaterThan(0);
  if (architecture === 'AutoencoderTiny') expect(log.at(-1)!.lambda).toBe(1);
  else expect(log.at(-1)!.lambda).not.toBe(1);
  expect((await openAutoencoder(run)).config.architecture).toBe(architecture);
});

test('with LPIPS, a discriminator and a running codebook, a stopped and resumed run ends with the same bytes', async () => {
  // Random weights of the layout that torchvision and lpips have: the sum of both files is one.
  const weights = join(root, 'lpips.safetensors');
  await writeSafetensors(weights, await new Lpips().init(1).save());
  const file = configFile('exact', {
    data: { kind: 'folder', path: images, size: 16, channels: 1 },
    architecture: 'VQModel',
    network: { ...coder, ...scale, codes: 8, codeWidth: 2 },
    codebook: { kind: 'ema', decay: 0.9, reviveBelow: 2 },
    perceptual: { weights, weight: 0.5 },
    adversarial: { ...critic, start: 1 },
    ...{ steps: 3, batchSize: 1, accumulation: 2, every: { log: 1, sample: 1, checkpoint: 1 } },
  });
  const [whole, parts] = [join(root, 'exact-whole'), join(root, 'exact-parts')];
  expect(await train('--config', file, '--run', whole)).toMatchObject({ code: 0 });
  expect(await train('--config', file, '--run', parts, '--steps', '2')).toMatchObject({ code: 0 });
  expect(await train('--resume', '--run', parts, '--steps', '3')).toMatchObject({ code: 0 });
  const last = join('checkpoints', 'checkpoint-3');
  const names = readdirSync(join(whole, last)).sort();
  expect(names).toEqual(
    [
      ...[
        'average-ema',
        'auxiliary-discriminator',
        'model',
        'optimizer',
        'optimizer-discriminator',
        'tensors-codebook',
      ].map((name) => `${name}.safetensors`),
      ...['manifest.json', 'state.json'],
    ].sort(),
  );
  for (const name of names) {
    const [a, b] = [whole, parts].map((run) => readFileSync(join(run, last, name)));
    expect(b!.equals(a!), name).toBe(true);
  }
  const withoutTime = (run: string) => logOf(run).map(({ seconds: _seconds, waited: _waited, ...line }) => line);
  expect(withoutTime(parts)).toEqual(withoutTime(whole));
  expect(logOf(whole)[0]!.lpips).toBeGreaterThan(0);
}, 120_000);

test('everything that does not fit is said at once, and the folder stays free for the next try', async () => {
  const run = join(root, 'unfit');
  const change = {
    codebook: { kind: 'ema' },
    perceptual: { weights: 'none.pth' },
    adversarial: { start: 0, layers: 3 },
    network: { ...kl, outChannels: 3 },
  };
  const { code, err } = await train('--config', configFile('unfit', change), '--run', run);
  expect(code).toBe(2);
  for (const part of [
    /outChannels is 3, the data needs 1/,
    /codebook: AutoencoderKL has none/,
    /LPIPS needs images of at least 16 pixels, the data has 8/,
    /3 layers need images of at least 24 pixels, the data has 8/,
  ]) {
    expect(err).toMatch(part);
  }
  expect(existsSync(run)).toBe(false);
  const large = { data: { kind: 'folder', path: images, size: 16, channels: 1 } };
  const heads = join(root, 'heads.safetensors');
  await writeSafetensors(heads, { 'lin0.model.1.weight': { shape: [1, 64, 1, 1], data: new Float32Array(64) } });
  for (const [weights, message] of [
    ['none.pth', /none\.pth: no such file/],
    [heads, /found none of VGG16's convolutions.*heads\.safetensors/],
  ] as const) {
    const tried = await train('--config', configFile('unfit', { ...large, perceptual: { weights } }), '--run', run);
    expect(tried.err).toMatch(message);
    expect(tried.code).toBe(2);
  }
});

test.each<[string, object, RegExp]>([
  ['a discriminator without a start', { adversarial: { weight: 0 } }, /adversarial\.start.*\n.*adversarial\.weight/],
  ['a term that is not there', { architecture: 'Autoencoder', network: coder, regularisation: 1 }, /no term/],
  ['a preset of another class', { network: 'digits-vq' }, /expected a preset of AutoencoderKL \(.*digits-vae.*\)/],
  ['another number of channels', { network: { ...kl, inChannels: 3 } }, /inChannels is 3, the data needs 1/],
  ['no architecture', { architecture: undefined }, /architecture/],
])('%s: one clear message, exit code 2', async (name, change, message) => {
  const { code, err } = await train('--config', configFile('bad', change), '--run', join(root, name));
  expect(err).toMatch(message);
  expect(code).toBe(2);
});

test('decoder and discriminator take turns through train, each with its own optimizer', async () => {
  await switchTo('wasm');
  const vae = new AutoencoderKL(kl).init(1);
  const critic = new PatchDiscriminator({ inChannels: 1, channels: 4, layers: 1 }).init(2);
  const stripes = Float32Array.from({ length: 4 * 64 }, (_, i) => (i % 8 < 4 ? 0.8 : -0.8));
  const data = { next: async () => stripes };
  const imagesOf = (batch: Float32Array) => tf.tensor4d(batch, [4, 8, 8, 1]);
  const lastBias = vae.decoder.conv_out.bias!;
  const start = [...lastBias.value.dataSync(), ...critic.main[0]!.bias!.value.dataSync()];
  const shared = { data, learningRate: constantRate(0.003), until: 20 };
  const decoding = training({
    ...shared,
    rng: new TorchGenerator(3),
    optimizer: adamW(vae),
    loss: ({ batch, rng }) => {
      const x = imagesOf(batch);
      const gaussian = vae.encode(x);
      const features = vae.decoderFeatures(sampleGaussian(gaussian, rng));
      const image = adversarialLoss(features, vae.decoder.conv_out, {
        reconstruction: (y) => l1Loss(y, x),
        adversarial: (y) => generatorLoss(critic.forward(y)),
      });
      return tf.add(image, tf.mul(klLoss(gaussian, 64), 1e-6));
    },
  });
  const judging = training({
    ...shared,
    rng: new TorchGenerator(4),
    optimizer: adamW(critic),
    loss: ({ batch, rng }) => {
      const x = imagesOf(batch);
      const y = vae.decode(sampleGaussian(vae.encode(x), rng));
      return hingeDiscriminatorLoss(critic.forward(x), critic.forward(y));
    },
  });
  const x = imagesOf(stripes);
  const distance = () => tf.tidy(() => l1Loss(vae.forward(x), x).dataSync()[0]!);
  const before = distance();
  await decoding.next();
  await judging.next();
  // Optimizers have made their state by now; from here on nothing may be left behind.
  const settled = tf.memory().numTensors;
  for (let turn = 1; turn < 20; turn++) {
    expect(Number.isFinite((await decoding.next()).value!.loss)).toBe(true);
    expect(Number.isFinite((await judging.next()).value!.loss)).toBe(true);
  }
  expect(tf.memory().numTensors).toBe(settled);
  expect(distance()).toBeLessThan(0.8 * before);
  const end = [...lastBias.value.dataSync(), ...critic.main[0]!.bias!.value.dataSync()];
  end.forEach((value, i) => {
    expect(value).not.toBe(start[i]);
  });
});
