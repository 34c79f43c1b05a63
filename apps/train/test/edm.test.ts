import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp, writeImageFolder } from '@mezzotint/app/testing';
import { architectureOfKind } from '@mezzotint/architectures';
import { switchTo } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { openPipeline } from '@mezzotint/pipelines/node';
import { adamW, constantRate, train as training } from '@mezzotint/training';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { trainCommand } from '../src/command.js';
import { trainConfigSchema, type WholeDiffusionTask } from '../src/config.js';
import { wholeConfig } from '../src/defaults.js';
import { diffusionTask } from '../src/diffusion-task.js';
import { type PosthocEmaFlags, posthocEmaCommand, runPosthocEma } from '../src/posthoc-ema.js';
import { trainRun } from '../src/train-run.js';
import { openTrainingData } from '../src/training-data.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-train-edm-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(() => writeImageFolder(join(root, 'images')));
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'cpu', ...argv]);

/** A network of a recipe at four channels, told how pictures were augmented where it can be. */
function networkOf(architecture: 'EDM' | 'EDM2'): object {
  const { unet, ...rest } = architectureOfKind('denoiser', architecture).sized!('small', {
    ...{ imageSize: 8, channels: 1, classes: 2 },
  }) as unknown as { unet: object };
  const own = architecture === 'EDM' ? { augmentWidth: 9 } : { channelsPerHead: 4 };
  return { ...rest, unet: { ...unet, modelChannels: 4, channelMult: [1], attentionSizes: [], dropout: 0.1, ...own } };
}

function configFile(recipe: 'edm' | 'edm2'): string {
  const architecture = recipe === 'edm' ? 'EDM' : 'EDM2';
  const file = join(root, `${recipe}.json`);
  const config = {
    ...{ task: 'diffusion', recipe, architecture, network: networkOf(architecture), steps: 16, batchSize: 2 },
    data: { kind: 'folder', path: join(root, 'images'), size: 8, channels: 1 },
    ema: { sigmaRel: [0.05, 0.1], snapshotEvery: 4 },
    every: { log: 1, sample: 1000, checkpoint: 2 },
    sampling: { solver: 'heun', steps: 1, guidance: 1 },
    ...(recipe === 'edm' && { augment: 0.12 }),
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

test.each(['edm2', 'edm'] as const)(
  '%s: a run that was killed in the middle goes on to the same bytes, snapshots and all',
  async (recipe) => {
    const [file, whole, killed] = [configFile(recipe), join(root, `${recipe}-whole`), join(root, `${recipe}-killed`)];
    const first = await train('--config', file, '--run', whole);
    expect(first.code, first.err).toBe(0);

    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const typescript = new URL('../../../tooling/setup/typescript.mjs', import.meta.url).href;
    const flags = ['--conditions=@mezzotint/source', '--import', typescript, main, '--engine', 'cpu'];
    const child = spawn(process.execPath, [...flags, '--config', file, '--run', killed], {
      ...{ cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: 'ignore' },
    });
    const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    const there = () => expect(existsSync(join(killed, 'checkpoints', 'checkpoint-2'))).toBe(true);
    await vi.waitFor(there, { timeout: 120_000, interval: 5 });
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL'); // it was still at work
    const resumed = await train('--resume', '--run', killed);
    expect(resumed.code, resumed.err).toBe(0);
    expect(resumed.out).toMatch(/from update \d+ to 16/);

    const filesOf = (run: string) =>
      ['checkpoints/checkpoint-16', 'snapshots', 'model'].flatMap((folder) =>
        readdirSync(join(run, folder))
          .filter((name) => name.endsWith('.safetensors'))
          .map((name) => join(folder, name)),
      );
    expect(filesOf(killed)).toEqual(filesOf(whole));
    expect(filesOf(whole).filter((name) => name.startsWith('snapshots'))).toHaveLength(8);
    for (const name of filesOf(whole)) {
      expect(readFileSync(join(killed, name)).equals(readFileSync(join(whole, name))), name).toBe(true);
    }
  },
  300_000,
);

test('edm2 on onnxruntime, which lays weights out as their updates make them: stopped and resumed, the same bytes', async () => {
  const config = JSON.parse(readFileSync(configFile('edm2'), 'utf8')) as { network: { unet: object } };
  const unet = { ...config.network.unet, modelChannels: 8, channelMult: [1, 2], dropout: 0 };
  const file = join(root, 'edm2-onnxruntime.json');
  writeFileSync(file, JSON.stringify({ ...config, network: { ...config.network, unet }, steps: 5, ema: {} }));
  const [whole, stopped] = [join(root, 'onnx-whole'), join(root, 'onnx-stopped')];
  for (const argv of [
    ['--config', file, '--run', whole],
    ['--config', file, '--run', stopped, '--until', '2'],
    ['--resume', '--run', stopped],
  ]) {
    const { code, err } = await train(...argv, '--engine', 'onnxruntime');
    expect(code, err).toBe(0);
  }
  const weights = (run: string) => readFileSync(join(run, 'checkpoints', 'checkpoint-5', 'model.safetensors'));
  expect(weights(stopped).equals(weights(whole))).toBe(true);
});

test('averages of other lengths are models that open: train posthoc-ema of the run', async () => {
  const run = join(root, 'edm2-whole');
  const made = await runApp<PosthocEmaFlags>(posthocEmaCommand(), runPosthocEma, [
    ...['--run', run, '--sigma-rel', '0.07,0.1', '--json'],
  ]);
  expect(made.code, made.err).toBe(0);
  const [between, stored] = [0.07, 0.1].map((width) => join(run, 'posthoc-ema', `ema-${width}`)) as [string, string];
  // A width that was tracked comes back as it was.
  const [ours, tracked] = [
    join(stored, 'model.safetensors'),
    join(run, 'checkpoints/checkpoint-16/average-power-0.1.safetensors'),
  ];
  const [a, b] = [ours, tracked].map((path) => readSafetensors(path)) as [ReturnType<typeof readSafetensors>, never];
  for (const name of a.tensors.keys()) {
    const [x, y] = [a, b as typeof a].map((file) => file.read(name).data as Float32Array) as [
      Float32Array,
      Float32Array,
    ];
    x.forEach(
      (value, i) => void expect(Math.abs(value - y[i]!), name).toBeLessThan(1e-5 * Math.max(1, Math.abs(y[i]!))),
    );
  }
  for (const file of [a, b as typeof a]) file.close();
  const pipeline = await openPipeline(between);
  const { images } = await pipeline.generate({ labels: [0, 1], steps: 2, seed: 1 });
  expect(images).toHaveLength(2);
  pipeline.dispose();
});

test('under an adapter the weights of EDM2 stay as they are, to the bit', async () => {
  await switchTo('cpu');
  const { augment: _, ...config } = JSON.parse(readFileSync(configFile('edm2'), 'utf8'));
  const asked = trainConfigSchema.parse({ ...config, init: { from: 'nowhere' }, lora: { rank: 2 } });
  const data = await openTrainingData(asked.data);
  const { model, adapter, loss, hooks } = await diffusionTask(wholeConfig(asked, 8) as WholeDiffusionTask, data);
  adapter!.init(1);
  // Averaged weights are shorter than those that are normalised.
  for (const { trainable, variable } of model.params().values()) if (trainable) variable.assign(tf.mul(variable, 0.5));
  const bytes = () => [...model.params()].map(([name, { value }]) => [name, Array.from(value.dataSync())]);
  const before = bytes();
  const stream = data.open({ batchSize: 2, seed: 0 });
  const optimizer = adamW(adapter!);
  const rng = new TorchGenerator(1);
  const learningRate = constantRate(1e-2);
  for await (const _ of training({ data: stream, rng, optimizer, learningRate, loss, hooks: hooks!, until: 2 }));
  await stream.close();
  expect(bytes()).toEqual(before);
});
