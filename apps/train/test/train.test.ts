import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openClassifier, openDiffusionModel } from '@mezzotint/app';
import { runApp, tinyNetwork, writeImageFolder } from '@mezzotint/app/testing';
import { presetNamed } from '@mezzotint/architectures';
import { switchTo } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { classifierTask } from '../src/classifier-task.js';
import { trainCommand } from '../src/command.js';
import { type ClassifierTask, trainConfigSchema } from '../src/config.js';
import { trainRun } from '../src/train-run.js';
import { openTrainingData } from '../src/training-data.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-train-'));
const images = join(root, 'images');
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'cpu', ...argv]);

const diffusion = {
  task: 'diffusion',
  data: { kind: 'folder', path: images, size: 8, channels: 1 },
  network: { ...tinyNetwork, dropout: 0.1 },
  process: { kind: 'discrete', betas: 'cosine', steps: 100, prediction: 'v' },
  steps: 6,
  batchSize: 4,
  learningRate: { kind: 'constant', peak: 0.001 },
  sampling: { solver: 'ddim', steps: 2, guidance: 2 },
  every: { log: 1, sample: 3, checkpoint: 2 },
};

function configFile(name: string, change: object = {}): string {
  const file = join(root, `${name}.json`);
  writeFileSync(file, JSON.stringify({ ...diffusion, ...change }));
  return file;
}

beforeAll(() => writeImageFolder(images));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('a run folder holds config, log, plot, samples, checkpoints and a model that opens', async () => {
  const run = join(root, 'whole');
  const { code, out, err } = await train('--config', configFile('whole'), '--run', run, '--json');
  expect(err).not.toMatch(/fault/);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ step: 6, done: true, engine: 'cpu' });
  expect(readdirSync(run).sort()).toEqual([
    'checkpoints',
    'config.json',
    'log.csv',
    'log.jsonl',
    'loss.png',
    'model',
    'rate.png',
    'samples',
  ]);
  expect(readdirSync(join(run, 'samples'))).toEqual(['step-0000003.png', 'step-0000006.png']);
  const log = readFileSync(join(run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(log.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  for (const { loss } of log) expect(loss).toBeGreaterThan(0);
  expect((await openDiffusionModel(run)).config.classes).toEqual(['a', 'b']);
});

test('stopped and resumed, a run ends with the same weights and log, bit for bit', async () => {
  const [whole, parts] = [join(root, 'same-whole'), join(root, 'same-parts')];
  const file = configFile('same');
  expect((await train('--config', file, '--run', whole)).code).toBe(0);
  expect((await train('--config', file, '--run', parts, '--steps', '3')).code).toBe(0);
  // As after a kill: a line that no checkpoint covers.
  writeFileSync(join(parts, 'log.jsonl'), `${readFileSync(join(parts, 'log.jsonl'), 'utf8')}{"step":4,"lo`);
  expect((await train('--resume', '--run', parts, '--steps', '6')).code).toBe(0);
  const bytes = (run: string) => readFileSync(join(run, 'model', 'model.safetensors'));
  expect(bytes(parts).equals(bytes(whole))).toBe(true);
  const losses = (run: string) =>
    readFileSync(join(run, 'log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { loss: number }).loss);
  expect(losses(parts)).toEqual(losses(whole));
});

test('EDM, learned variance and a classifier train too', async () => {
  const edm = configFile('edm', {
    process: { kind: 'edm' },
    steps: 2,
    sampling: { solver: 'heun', steps: 2, guidance: 1 },
  });
  expect(await train('--config', edm, '--run', join(root, 'edm'))).toMatchObject({ code: 0 });
  const learned = configFile('learned', {
    process: { kind: 'discrete', betas: 'linear', steps: 50, prediction: 'eps', learnedVariance: true },
    network: { ...tinyNetwork, outChannels: 2 },
    steps: 2,
    sampling: { solver: 'ddpm-learned', steps: 3, guidance: 1.5 },
  });
  expect(await train('--config', learned, '--run', join(root, 'learned'))).toMatchObject({ code: 0 });
  const { sampling: _sampling, ...rest } = diffusion;
  const { outChannels: _out, headsUp: _heads, nullLabel: _null, ...encoder } = tinyNetwork;
  const classifier = join(root, 'classifier.json');
  writeFileSync(
    classifier,
    JSON.stringify({ ...rest, task: 'classifier', network: { ...encoder, classes: 2, pool: 'attention' }, steps: 2 }),
  );
  expect(await train('--config', classifier, '--run', join(root, 'classifier'))).toMatchObject({ code: 0 });
  expect((await openClassifier(join(root, 'classifier'))).config.classes).toEqual(['a', 'b']);
});

test('the clean share of a classifier holds on average in batches of one picture, and exactly where it comes out even', async () => {
  await switchTo('cpu');
  const { outChannels: _out, headsUp: _heads, nullLabel: _null, ...encoder } = tinyNetwork;
  const config = trainConfigSchema.parse({
    ...{ task: 'classifier', data: diffusion.data, network: { ...encoder, classes: 2, pool: 'attention' } },
    ...{ process: diffusion.process, cleanShare: 0.25, steps: 1, batchSize: 4, learningRate: { peak: 1e-3 } },
  });
  const task = classifierTask(config as ClassifierTask, await openTrainingData(config.data));
  const seen: number[] = [];
  Object.assign(task.model, {
    forward(x: tf.Tensor4D) {
      // A picture of zeros shows its noise.
      const noise = tf.max(tf.abs(x), [1, 2, 3]).dataSync();
      seen.push(...noise);
      return tf.zeros([x.shape[0], 2]);
    },
  });
  const cleanOf = (n: number, times: number, seed: number) => {
    seen.length = 0;
    const rng = new TorchGenerator(seed);
    const batch = { images: new Float32Array(n * 64), labels: new Int32Array(n), shape: [n, 8, 8, 1] as const };
    for (let i = 0; i < times; i++) tf.dispose(task.loss({ batch: batch as never, rng, step: 1, observe() {} }));
    return seen.map((noise) => noise === 0);
  };
  const ones = cleanOf(1, 200, 1);
  const share = ones.filter(Boolean).length / 200;
  expect(Math.abs(share - 0.25)).toBeLessThan(0.1); // more than three deviations
  expect(cleanOf(1, 200, 1)).toEqual(ones);
  expect(cleanOf(8, 2, 2).map(Number)).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
});

test('any architecture trains, by a configuration or a size; labels that cannot be dropped are not', async () => {
  const dit = presetNamed('dit-s-2').preset.config as object;
  const tiny = {
    imageSize: 8,
    inChannels: 1,
    outChannels: 1,
    width: 8,
    depth: 1,
    heads: 2,
    classes: 2,
    nullLabel: false,
  };
  const change = { architecture: 'DiT', steps: 2, sampling: { solver: 'ddim', steps: 2, guidance: 1 } };
  const file = configFile('dit', { ...change, network: { ...dit, ...tiny } });
  expect(await train('--config', file, '--run', join(root, 'dit'))).toMatchObject({ code: 0 });
  const opened = await openDiffusionModel(join(root, 'dit'));
  expect(opened.architecture.name).toBe('DiT');
  expect(opened.signature).toMatchObject({ classes: 2, nullLabel: false });

  const drops = configFile('drops', { ...change, network: { ...dit, ...tiny }, labelDropout: 0.1 });
  const { code, err } = await train('--config', drops, '--run', join(root, 'drops'));
  expect(code).toBe(2);
  expect(err).toMatch(/labelDropout: expected 0, as the network has no null label/);

  const sized = configFile('sized', { network: 'small', steps: 1 });
  expect(await train('--config', sized, '--run', join(root, 'sized'))).toMatchObject({ code: 0 });
  expect((await openDiffusionModel(join(root, 'sized'))).signature).toMatchObject({ classes: 2, nullLabel: true });
});

test('a folder with something in it is not trained into', async () => {
  const run = join(root, 'taken');
  mkdirSync(run);
  writeFileSync(join(run, 'thesis.txt'), 'mine');
  const { code, err } = await train('--config', configFile('taken'), '--run', run);
  expect(code).toBe(2);
  expect(err).toContain('is not empty');
  expect(readdirSync(run)).toEqual(['thesis.txt']);
});

test.each<[string, () => string[], RegExp]>([
  ['no run', () => ['--config', configFile('x')], /required option '--run/],
  [
    'no config',
    () => ['--run', join(root, 'none')],
    /--data: expected pictures: a folder, a \.tar archive or 'digits' \(or --config/,
  ],
  ['missing config', () => ['--config', 'nowhere.json', '--run', join(root, 'none')], /nowhere.json: no such file/],
  ['unknown setting', () => ['--config', configFile('u', { stepz: 3 }), '--run', join(root, 'none')], /stepz/],
  [
    'several problems',
    () => ['--config', configFile('s', { steps: 0, batchSize: 'x' }), '--run', join(root, 'none')],
    /steps.*\n.*batchSize/,
  ],
  ['nothing to resume', () => ['--resume', '--run', join(root, 'none')], /holds no run to resume/],
])('%s: one clear message, exit code 2', async (_, argv, message) => {
  const { code, err } = await train(...argv());
  expect(err).toMatch(message);
  expect(code).toBe(2);
  expect(existsSync(join(root, 'none', 'log.jsonl'))).toBe(false);
});

test.each<[string, object, RegExp]>([
  ['network of another size', { network: { ...tinyNetwork, imageSize: 16 } }, /imageSize is 16, the data needs 8/],
  ['unknown preset', { network: 'gigantic' }, /expected a preset of ADMUNet.*'gigantic'/],
  [
    'no such images',
    { data: { kind: 'folder', path: 'nowhere', size: 8, channels: 1 } },
    /nowhere: no such folder or file/,
  ],
  ['batch larger than the data', { batchSize: 1000 }, /1000/],
])('%s: one clear message, exit code 2', async (name, change, message) => {
  const { code, err } = await train('--config', configFile('bad', change), '--run', join(root, name));
  expect(err).toMatch(message);
  expect(code).toBe(2);
});
