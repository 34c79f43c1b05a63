import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDiffusionModel } from '@mezzotint/app';
import { runApp } from '@mezzotint/app/testing';
import { architectureOfKind } from '@mezzotint/architectures';
import { switchTo } from '@mezzotint/backend/testing';
import { TorchGenerator } from '@mezzotint/core';
import { encodePng } from '@mezzotint/data';
import { LoraAdapter } from '@mezzotint/training';
import { listSnapshots } from '@mezzotint/training/node';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainCommand } from '../src/command.js';
import { type TrainConfig, trainConfigSchema, type WholeSuperResolutionTask } from '../src/config.js';
import { configFromFlags, wholeConfig, withFittingBatch } from '../src/defaults.js';
import { saveDiffusers } from '../src/diffusers-folder.js';
import { diffusionTask } from '../src/diffusion-task.js';
import { lookAfter, lookBefore } from '../src/doctor.js';
import { initWeights } from '../src/init-weights.js';
import { referencePage } from '../src/reference.js';
import { superResolutionTask } from '../src/super-resolution-task.js';
import { trainRun } from '../src/train-run.js';
import { openTrainingData } from '../src/training-data.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-newcomer-'));
const pictures = join(root, 'pictures');
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

/** 60 pictures of 12 x 8 in two classes: brighter left or brighter right, in colour. */
beforeAll(() => {
  for (const [c, name] of ['left', 'right'].entries()) {
    mkdirSync(join(pictures, name), { recursive: true });
    for (let i = 0; i < 30; i++) {
      const data = Uint8Array.from({ length: 8 * 12 * 3 }, (_, e) => {
        const x = Math.floor(e / 3) % 12;
        return x < 6 === (c === 0) ? 200 + (i % 3) * (e % 3) * 5 : 30;
      });
      writeFileSync(join(pictures, name, `${i}.png`), encodePng({ data, height: 8, width: 12, channels: 3 }));
    }
  }
  writeFileSync(join(pictures, 'left', 'thumbs.db'), 'x');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const logOf = (run: string) =>
  readFileSync(join(run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

/** A network that a test can afford. */
const tinyDit = {
  ...(architectureOfKind('denoiser', 'DiT').sized!('small', { imageSize: 8, channels: 3, classes: 2 }) as object),
  ...{ patchSize: 4, width: 16, depth: 2, heads: 2 },
};

/** A configuration file for a tiny DiT on the pictures. */
function configFile(name: string, change: object): string {
  const file = join(root, `${name}.json`);
  const config = {
    task: 'diffusion',
    data: { kind: 'folder', path: pictures, size: 8, heldOut: 0.1 },
    architecture: 'DiT',
    network: tinyDit,
    ...{ steps: 4, batchSize: 6, every: { log: 1, sample: 4, checkpoint: 2 } },
    sampling: { solver: 'ddim', steps: 2, guidance: 1.5 },
    ...change,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** A run of two updates, made once, that others begin with. */
async function baseRun(): Promise<string> {
  const run = join(root, 'base');
  if (existsSync(run)) return run;
  const file = configFile('base', { recipe: 'v-cosine', steps: 2 });
  expect(await train('--config', file, '--run', run)).toMatchObject({ code: 0 });
  return run;
}

test('another heldOutSeed holds out other pictures, the same one the same', async () => {
  const fixed = { kind: 'folder', path: pictures, size: 8, channels: 3, labels: 'auto', crop: 'center' } as const;
  const split = async (heldOutSeed: number) => {
    const data = await openTrainingData({ ...fixed, flip: false, threads: 0, heldOut: 0.1, heldOutSeed });
    return { count: data.count, fingerprint: data.fingerprint };
  };
  const [first, again, other] = [await split(0), await split(0), await split(1)];
  expect(again).toEqual(first);
  expect(other.count).toBe(first.count);
  expect(other.fingerprint).not.toBe(first.fingerprint);
});

test('a configuration file takes other pictures by --data; flags that would do nothing beside it are refused, all at once', async () => {
  const elsewhere = join(root, 'elsewhere');
  cpSync(pictures, elsewhere, { recursive: true });
  const file = configFile('elsewhere', { data: { kind: 'folder', path: join(root, 'nowhere'), size: 8 }, steps: 1 });
  const run = join(root, 'other-pictures');
  expect(await train('--config', file, '--data', elsewhere, '--run', run)).toMatchObject({ code: 0 });
  expect(JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))).toMatchObject({
    data: { path: elsewhere, size: 8 },
  });
  const none = join(root, 'refused');
  const refused = await train('--config', file, '--preset', 'large', '--no-classes', '--flip', '--run', none);
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.err).toMatch(/--preset, --no-classes, --flip: set it in .*elsewhere\.json: the flag would do nothing/);
  const resumed = await train('--resume', '--data', elsewhere, '--run', run);
  expect(resumed.err).toMatch(/--data: set it in config\.json of .*other-pictures/);
  const encoder = await train('--config', file, '--text-encoder', pictures, '--run', none);
  expect(encoder.err).toMatch(/--text-encoder: the configuration has 0 text encoders of a folder, expected 1/);
  const digits = configFile('digits-elsewhere', { data: { kind: 'digits' } });
  expect((await train('--config', digits, '--data', elsewhere, '--run', none)).err).toMatch(/--data: .* of digits/);
  expect(existsSync(none)).toBe(false);
});

test('a configuration whose batch is larger than the data of --data takes a smaller one, and says so; a size that was asked for stays', async () => {
  const few = join(root, 'few-elsewhere');
  for (const name of ['left', 'right']) {
    mkdirSync(join(few, name), { recursive: true });
    for (const i of [0, 1, 2]) cpSync(join(pictures, name, `${i}.png`), join(few, name, `${i}.png`));
  }
  const data = { kind: 'folder', path: pictures, size: 8, heldOut: 0.1 };
  const file = configFile('few-elsewhere', {
    data,
    steps: 2,
    batchSize: 8,
    every: { log: 1, sample: 2, checkpoint: 1 },
  });
  const run = join(root, 'few-elsewhere-run');
  const command = ['--config', file, '--data', few, '--run', run];
  const { code, out } = await train(...command, '--until', '1');
  expect(code).toBe(0);
  expect(out).toMatch(/Note: the batch size is 5, as the 8 in .*few-elsewhere\.json are more than the 5 pictures that/);
  expect(JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))).toMatchObject({ batchSize: 5 });
  // The command that began a run goes on with --resume.
  expect(await train(...command, '--resume')).toMatchObject({
    code: 0,
    err: expect.not.stringContaining('configuration'),
  });
  const none = join(root, 'few-refused');
  const asked = await train('--config', file, '--data', few, '--batch-size', '8', '--run', none);
  expect(asked.err).toMatch(/--batch-size: expected at most 5, the pictures that are trained on, got 8/);
  const own = configFile('few-own', { data: { ...data, path: few }, batchSize: 8 });
  expect((await train('--config', own, '--run', none)).err).toMatch(
    /batchSize: expected at most 5, the pictures that are trained on \(--batch-size 5\), got 8/,
  );
  expect(existsSync(none)).toBe(false);
});

test('--until stops after an update, and the run that goes on ends with the same bytes', async () => {
  const file = configFile('until', { recipe: 'flow' });
  const [whole, parts] = [join(root, 'until-whole'), join(root, 'until-parts')];
  expect(await train('--config', file, '--run', whole)).toMatchObject({ code: 0 });
  const stopped = await train('--config', file, '--until', '3', '--run', parts);
  expect(stopped.out).toMatch(/Stopped at update 3 of 4; go on with: pnpm train --resume/);
  expect(logOf(parts).at(-1)!.step).toBe(3);
  const behind = await train('--resume', '--until', '2', '--run', parts);
  expect(behind).toMatchObject({ code: 2 });
  expect(behind.err).toMatch(/--until: the run stands at update 3 already, got 2/);
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  const model = (run: string) => readFileSync(join(run, 'model', 'model.safetensors'));
  expect(model(parts)).toEqual(model(whole));
});

test('a folder and a preset are enough: what was read is said, and the run folder opens as a model', async () => {
  const run = join(root, 'mine');
  const { code, out: output } = await train(
    ...['--data', pictures, '--preset', 'small', '--size', '8', '--run', run],
    ...['--steps', '2', '--batch-size', '8', '--recipe', 'flow'],
  );
  expect(code).toBe(0);
  expect(output).toMatch(/57 pictures in 2 classes: left \d+, right \d+; 3 more are held out/);
  expect(output).toMatch(/Passed over: 1 .db that are no pictures: left\/thumbs.db/);
  expect(output).toMatch(
    /Model: ADMUNet, [\d.]+ (?:million|thousand) parameters; weights, gradients, moments and averages take \d+ MiB/,
  );
  expect(output).toMatch(/Note: 57 pictures are few/);
  const config = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')) as TrainConfig & { process: object };
  expect(config.process).toEqual({ kind: 'flow', shift: 1, timeScale: 1000 });
  expect(config).toMatchObject({
    recipe: 'flow',
    learningRate: { kind: 'cosine', peak: 0.001 },
    sampling: { solver: 'euler' },
  });
  const log = logOf(run);
  expect(log.at(-1)!.validationLoss).toBeGreaterThan(0);
  expect(log.at(-1)!.waited).toBeGreaterThanOrEqual(0);
  for (const file of ['loss.png', 'rate.png', 'log.csv', 'samples/step-0000002.png', 'model/model.safetensors']) {
    expect(existsSync(join(run, file))).toBe(true);
  }
  expect(readFileSync(join(run, 'log.csv'), 'utf8').split('\n')[0]).toMatch(
    /^step,loss,learningRate,gradientNorm,seconds,waited/,
  );
  const opened = await openDiffusionModel(run);
  expect(opened.architecture.name).toBe('ADMUNet');
  expect(opened.config.classes).toEqual(['left', 'right']);
});

test.each(['v-cosine', 'min-snr', 'edm', 'rectified-flow', 'simple-diffusion', 'vdm++'])(
  '%s: a run that stopped and went on ends with the same bytes, decoded in threads or not',
  async (recipe) => {
    const [whole, parts] = [join(root, `whole-${recipe}`), join(root, `parts-${recipe}`)];
    const data = { kind: 'folder', path: pictures, size: 8, crop: 'random', flip: true };
    const ema = { sigmaRel: [0.1], snapshotEvery: 2 };
    const config = (threads: number) => configFile(`exact-${threads}`, { recipe, ema, data: { ...data, threads } });
    expect(await train('--config', config(0), '--run', whole)).toMatchObject({ code: 0 });
    expect(await train('--config', config(1), '--run', parts)).toMatchObject({ code: 0 });
    rmSync(join(parts, 'checkpoints', 'checkpoint-4'), { recursive: true });
    expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
    const bytes = (run: string, file: string) => readFileSync(join(run, 'checkpoints', 'checkpoint-4', file));
    for (const file of ['model', 'optimizer', 'average-ema', 'average-power-0.1'].map(
      (name) => `${name}.safetensors`,
    )) {
      expect(bytes(parts, file).equals(bytes(whole, file))).toBe(true);
    }
    // Two updates and four of a batch; post-hoc EMA reads these names.
    const batch = JSON.parse(readFileSync(join(whole, 'config.json'), 'utf8')).batchSize as number;
    expect(listSnapshots(join(whole, 'snapshots')).map(({ sigmaRel, time }) => [sigmaRel, time])).toEqual([
      [0.1, 2 * batch],
      [0.1, 4 * batch],
    ]);
  },
);

test('weights of a run are taken by a network of another size and other classes, with a report', async () => {
  const base = await baseRun();
  const other = join(root, 'other');
  mkdirSync(join(other, 'right'), { recursive: true });
  mkdirSync(join(other, 'up'), { recursive: true });
  for (const name of ['right', 'up']) {
    for (let i = 0; i < 6; i++)
      writeFileSync(
        join(other, name, `${i}.png`),
        encodePng({ data: new Uint8Array(16 * 16).fill(9 * i), height: 16, width: 16, channels: 1 }),
      );
  }
  writeFileSync(
    join(other, 'up', '9.png'),
    encodePng({ data: new Uint8Array(16 * 16).fill(3), height: 16, width: 16, channels: 1 }),
  );
  mkdirSync(join(other, 'down'));
  writeFileSync(
    join(other, 'down', '1.png'),
    encodePng({ data: new Uint8Array(16 * 16).fill(5), height: 16, width: 16, channels: 1 }),
  );
  const network = { ...tinyDit, imageSize: 16, classes: 3 };
  const change = { recipe: 'v-cosine', network, init: { from: base }, data: { kind: 'folder', path: other, size: 16 } };
  const tuned = join(root, 'tuned');
  const { code, out: output } = await train(
    '--config',
    configFile('tuned', { ...change, freeze: ['blocks.0.*'] }),
    '--run',
    tuned,
  );
  expect(code).toBe(0);
  // Classes of the base: left, right; of the new data: down, right, up. "No label" is the last row of both.
  expect(output).toMatch(/y_embedder.embedding_table.weight: 2 of 4 rows of classes that both have/);
  expect(output).toMatch(/pos_embed is computed for the model's own size/);
  expect(output).toMatch(/of them trained/);
  const weights = async (run: string, name: string) => {
    const file = readSafetensors(
      join(run, 'checkpoints', run === base ? 'checkpoint-2' : 'checkpoint-4', 'model.safetensors'),
    );
    const tensor = await file.read(name);
    file.close();
    return Array.from(tensor.data);
  };
  const averaged = readSafetensors(join(base, 'model', 'model.safetensors'));
  const frozen = Array.from((await averaged.read('blocks.0.mlp.fc1.weight')).data);
  averaged.close();
  expect(await weights(tuned, 'blocks.0.mlp.fc1.weight')).toEqual(frozen);
  expect(await weights(tuned, 'blocks.1.mlp.fc1.weight')).not.toEqual(await weights(base, 'blocks.1.mlp.fc1.weight'));
});

test('a LoRA is trained on a model, resumed exactly, and saved for peft, diffusers and kohya, and merged', async () => {
  const base = await baseRun();
  const lora = { rank: 2, alpha: 4, targets: ['*attn.qkv', '*mlp*'] };
  const file = configFile('lora', {
    recipe: 'v-cosine',
    init: { from: base },
    lora,
    steps: 3,
    every: { log: 1, sample: 3, checkpoint: 1 },
  });
  const [whole, parts] = [join(root, 'lora'), join(root, 'lora-parts')];
  const first = await train('--config', file, '--run', whole);
  expect(first).toMatchObject({ code: 0 });
  expect(first.out).toMatch(/DiT, .* and an adapter of/);
  expect(await train('--config', file, '--run', parts, '--steps', '3')).toMatchObject({ code: 0 });
  rmSync(join(parts, 'checkpoints', 'checkpoint-3'), { recursive: true });
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  const checkpoint = join('checkpoints', 'checkpoint-3', 'model.safetensors');
  expect(readFileSync(join(parts, checkpoint)).equals(readFileSync(join(whole, checkpoint)))).toBe(true);
  // The adapter's checkpoints do not hold the model that it changes: with another one it does not go on.
  const weightsFile = join(base, 'model', 'model.safetensors');
  const bytes = readFileSync(weightsFile);
  const moved = Buffer.from(bytes);
  moved.writeFloatLE(moved.readFloatLE(moved.length - 4) + 1, moved.length - 4);
  writeFileSync(weightsFile, moved);
  const changed = await train('--resume', '--steps', '4', '--run', parts);
  writeFileSync(weightsFile, bytes);
  expect(changed.err).toMatch(/was trained with another model .*base than there is now/);
  const names = (name: string) => {
    const opened = readSafetensors(join(whole, 'lora', name));
    const all = [...opened.tensors.keys()];
    opened.close();
    return all;
  };
  expect(names('adapter_model.safetensors')).toContain('base_model.model.blocks.0.attn.qkv.lora_A.weight');
  expect(names('pytorch_lora_weights.safetensors')).toContain(
    'transformer.transformer_blocks.1.attn1.to_k.lora_B.weight',
  );
  expect(names('lora-kohya.safetensors')).toContain('lora_unet_transformer_blocks_0_ff_net_0_proj.alpha');

  // The merged model of the run is the base with the saved adapter, applied by hand.
  await switchTo('wasm');
  const [merged, plain] = [await openDiffusionModel(whole), await openDiffusionModel(base)];
  const adapter = new LoraAdapter(plain.model, lora).init(0);
  const saved = readSafetensors(join(whole, 'lora', 'adapter_model.safetensors'));
  await adapter.load(saved);
  saved.close();
  const x = tf.randomNormal([2, 8, 8, 3], 0, 1, 'float32', 3) as tf.Tensor4D;
  const inputs = { labels: tf.tensor1d([0, 1], 'int32') };
  const run = (model: typeof merged.model) => model.forward(x, tf.tensor1d([10, 700]), inputs).dataSync();
  const expected = run(merged.model);
  const got = adapter.apply(() => run(plain.model));
  got.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5);
  });
});

test('a LoRA on classes that the model does not have is refused, as their rows would stay random', async () => {
  const base = await baseRun();
  const other = join(root, 'other-classes');
  cpSync(join(pictures, 'left'), join(other, 'left'), { recursive: true });
  cpSync(join(pictures, 'right'), join(other, 'up'), { recursive: true });
  const data = { kind: 'folder', path: other, size: 8 };
  const file = configFile('other-classes', { recipe: 'v-cosine', init: { from: base }, data, lora: { rank: 2 } });
  const run = join(root, 'lora-other-classes');
  const { code, err } = await train('--config', file, '--run', run);
  expect(code).toBe(2);
  expect(err).toMatch(/lora: .*would stay random \(y_embedder.embedding_table.weight: 2 of 3 rows/);
  expect(existsSync(run)).toBe(false);
});

test('a fine-tuning goes on when the model that it began with is gone', async () => {
  const origin = join(root, 'gone');
  cpSync(await baseRun(), origin, { recursive: true });
  const run = join(root, 'goes-on');
  const file = configFile('goes-on', { recipe: 'v-cosine', init: { from: origin }, steps: 1 });
  expect(await train('--config', file, '--run', run)).toMatchObject({ code: 0 });
  rmSync(origin, { recursive: true });
  const resumed = await train('--resume', '--run', run, '--steps', '2');
  expect(resumed).toMatchObject({ code: 0 });
  expect(resumed.out).toMatch(/The weights are those of the checkpoint; .*gone is not read again/);
  expect(logOf(run).at(-1)!.step).toBe(2);
});

test('a model of diffusers is trained by the process of its scheduler', async () => {
  const folder = join(root, 'pipeline');
  const json = {
    ...{ _class_name: 'DiTTransformer2DModel', num_attention_heads: 2, attention_head_dim: 8, in_channels: 3 },
    ...{ num_layers: 2, sample_size: 8, patch_size: 4, num_embeds_ada_norm: 5 },
  };
  for (const name of ['transformer', 'scheduler']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'transformer', 'config.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'transformer', 'diffusion_pytorch_model.safetensors'), '');
  const asked = (scheduler: object, flags: object = {}) => {
    writeFileSync(join(folder, 'scheduler', 'scheduler_config.json'), JSON.stringify(scheduler));
    return configFromFlags({ run: '', data: pictures, init: folder, ...flags });
  };
  const ddpm = { _class_name: 'DDPMScheduler' };
  const linear = { kind: 'discrete', betas: 'linear', steps: 1000, prediction: 'eps', learnedVariance: false };
  expect(await asked(ddpm)).toMatchObject({ process: linear, recipe: 'ddpm' });
  const v = {
    ...{ _class_name: 'DDIMScheduler', prediction_type: 'v_prediction', num_train_timesteps: 500 },
    ...{ beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 },
  };
  const scaled = await asked(v);
  expect(scaled).toMatchObject({ process: { betas: 'scaled-linear', steps: 500, prediction: 'v' } });
  expect(scaled).not.toHaveProperty('recipe');
  const cosine = await asked({ ...ddpm, beta_schedule: 'squaredcos_cap_v2' });
  expect(cosine).toMatchObject({ process: { ...linear, betas: 'cosine' } });
  const own = await asked({ ...ddpm, beta_end: 0.01 }, { recipe: 'flow' });
  expect(own).toMatchObject({ recipe: 'flow' });
  expect(own).not.toHaveProperty('process');
  await expect(asked({ ...ddpm, beta_end: 0.01 })).rejects.toThrow(/scheduler_config.json: .*--recipe/);
});

test('a model to begin with takes the classes of the data where it counts classes, and none where it reads captions', async () => {
  const captioned = join(root, 'captioned-classes');
  cpSync(pictures, captioned, { recursive: true });
  for (const name of ['left', 'right']) {
    for (let i = 0; i < 30; i++) writeFileSync(join(captioned, name, `${i}.txt`), `bright on the ${name}`);
  }
  const begin = async (architecture: string, shape: object, more: object = {}) => {
    const record = architectureOfKind('denoiser', architecture);
    const network = record.sized!('small', { imageSize: 8, channels: 3, classes: null, ...shape });
    const origin = join(root, `begin-${architecture}`);
    mkdirSync(origin, { recursive: true });
    const json = { format: 'mezzotint/diffusion@1', architecture, network, image: { size: 8, channels: 3 }, ...more };
    writeFileSync(join(origin, 'config.json'), JSON.stringify(json));
    const config = await configFromFlags({ run: '', data: captioned, init: origin });
    return { old: network, ...(config as { network: object; conditions?: object }) };
  };
  const text = { encoders: [{ folder: 'text_encoder', length: 8, skip: 0 }] };
  const read = await begin('UNet2DCondition', { contextWidth: 16, contextTokens: 8, pooledWidth: 16 }, { text });
  expect(read.conditions).toMatchObject({ kind: 'captions' });
  expect(read.network).toEqual(read.old);
  for (const classes of [null, 5]) {
    expect((await begin('DiT', { classes })).network).toMatchObject({ classes: 2, nullLabel: true });
  }
});

test('snapshots without averages to store are refused', async () => {
  const file = configFile('no-averages', { ema: { snapshotEvery: 2 } });
  const { code, err } = await train('--config', file, '--run', join(root, 'no-averages'));
  expect(code).toBe(2);
  expect(err).toMatch(/ema.snapshotEvery: snapshots are of the averages of sigmaRel/);
});

test('flags that make no configuration are named, all at once', async () => {
  const run = join(root, 'typing-errors');
  const flags = ['--recipe', 'foo', '--size', '5000', '--channels', '2'];
  const { code, err } = await train('--data', pictures, ...flags, '--run', run);
  expect(code).toBe(2);
  for (const key of ['recipe', 'data.size', 'data.channels']) expect(err).toContain(`${key}: `);
  expect(err).not.toContain('fault');
});

test('damaged pictures do not make a default batch size too large; one that was asked for is named', async () => {
  const few = join(root, 'few');
  mkdirSync(few);
  for (let i = 0; i < 6; i++) {
    const bytes = encodePng({ data: new Uint8Array(8 * 8 * 3).fill(40 * i), height: 8, width: 8, channels: 3 });
    writeFileSync(join(few, `${i}.png`), i === 3 ? bytes.subarray(0, bytes.length - 20) : bytes);
  }
  const flags = { run: '', data: few };
  const config = await configFromFlags(flags);
  const { count } = await openTrainingData(config.data);
  expect([config.batchSize, count]).toEqual([6, 5]);
  expect(withFittingBatch(config, flags, count).batchSize).toBe(5);
  const scored = await openTrainingData({ ...config.data, heldOutPath: few } as TrainConfig['data']);
  expect(scored.heldOut!.count).toBe(5);
  expect(scored.report.at(-1)).toMatch(/Passed over in .*few: 1 picture that is damaged behind the header: 3.png/);
  const asked = await train('--data', few, '--batch-size', '6', '--run', join(root, 'few-run'));
  expect(asked.err).toMatch(/--batch-size: expected at most 5, the pictures that are trained on, got 6/);
  expect(() => withFittingBatch(config, { run: '', config: 'file' }, count)).toThrow(/batchSize: expected at most 5/);
});

test.each(['diffusion', 'super-resolution'])('%s: the loss of held-out pictures drops no labels', async (task) => {
  await switchTo('wasm');
  const adm = {
    ...{ imageSize: 8, inChannels: 3, outChannels: 3, modelChannels: 8, channelMult: [1], resBlocks: 1, groups: 4 },
    ...{ attentionResolutions: [], heads: { count: 1 }, headsUp: { count: 1 }, attentionOrder: 'new', dropout: 0 },
    ...{ timeConditioning: 'scale-shift', resampling: 'residual', classes: 2, nullLabel: true, lowResTime: true },
  };
  const own =
    task === 'diffusion' ? { architecture: 'DiT', network: tinyDit } : { network: adm, superResolution: { factor: 2 } };
  const data = { kind: 'folder', path: pictures, size: 8, threads: 0, heldOut: 0.1 };
  const held = await openTrainingData(trainConfigSchema.parse({ task, data, ...own, steps: 1, batchSize: 4 }).data);
  const losses = async (labelDropout: number) => {
    const asked = { task, data, ...own, steps: 1, batchSize: 4, recipe: 'v-cosine', labelDropout };
    const config = wholeConfig(trainConfigSchema.parse(asked), 8);
    const made =
      config.task === 'diffusion'
        ? await diffusionTask(config, held)
        : await superResolutionTask(config as WholeSuperResolutionTask, held);
    // Networks begin with zeros where labels come in.
    for (const [i, param] of [...made.model.params().values()].entries()) {
      if (param.trainable) param.variable.assign(tf.randomNormal([...param.shape], 0, 0.3, 'float32', i + 1));
    }
    const batch = held.heldOut!.batch(0, 4);
    const input = { batch, rng: new TorchGenerator(1), step: 1, observe: () => undefined };
    const numbers = (loss: unknown) => Array.from((loss as tf.Tensor).dataSync());
    return [numbers(made.validate!(batch, new TorchGenerator(1))), numbers(made.loss(input as never))] as const;
  };
  const [[validated, trained], [dropped, droppedInTraining]] = [await losses(0), await losses(1)];
  expect(dropped).toEqual(validated);
  expect(droppedInTraining).not.toEqual(trained);
});

test('a model of diffusers is fine-tuned, and comes out as a folder that diffusers opens too', async () => {
  const record = architectureOfKind('denoiser', 'DiT');
  const origin = join(root, 'origin');
  mkdirSync(origin);
  const json = {
    ...{ _class_name: 'DiTTransformer2DModel', num_attention_heads: 2, attention_head_dim: 8, in_channels: 3 },
    ...{ num_layers: 2, sample_size: 8, patch_size: 4, num_embeds_ada_norm: 5 },
  };
  writeFileSync(join(origin, 'config.json'), JSON.stringify(json));
  const reference = record.references!.find(({ className }) => className === json._class_name)!;
  await switchTo('wasm');
  await saveDiffusers(origin, join(origin, 'config.json'), record.build(reference.config(json)).init(3));
  const run = join(root, 'from-diffusers');
  const flags = [
    '--data',
    pictures,
    '--init',
    origin,
    '--size',
    '8',
    '--run',
    run,
    '--steps',
    '1',
    '--batch-size',
    '2',
  ];
  const { code, out } = await train(...flags);
  expect(code).toBe(0);
  expect(out).toMatch(/y_embedder.embedding_table.weight has another shape: \[6, 16\], the model has \[3, 16\]/);
  const folder = join(run, 'diffusers');
  expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toEqual({ ...json, num_embeds_ada_norm: 2 });
  // Read again as a file of diffusers, it is the model of the run.
  const opened = await openDiffusionModel(run);
  const again = record.build(reference.config({ ...json, num_embeds_ada_norm: 2 })).init(9);
  const report = await initWeights(again, { from: folder, strict: false }, ['left', 'right']);
  expect(report.fresh).toEqual([{ name: 'pos_embed', why: 'is not in the weights' }]);
  const x = tf.randomNormal([1, 8, 8, 3], 0, 1, 'float32', 3) as tf.Tensor4D;
  const answer = (model: typeof opened.model) =>
    model.forward(x, tf.tensor1d([40]), { labels: tf.tensor1d([1], 'int32') }).dataSync();
  expect(answer(again)).toEqual(answer(opened.model));
});

test('the reference page is that of the schema', () => {
  const page = readFileSync(new URL('../../../docs/train-configuration.md', import.meta.url), 'utf8');
  expect(page).toBe(referencePage()); // else: pnpm train:reference
  expect(page).not.toMatch(/\|\s\|$/m); // every key is described
});

test('the doctor names what is wrong', () => {
  const config = {
    task: 'diffusion',
    steps: 100,
    batchSize: 8,
    accumulation: 1,
    ema: { decay: 0.9999, sigmaRel: [] },
    optimizer: { maxGradientNorm: 1 },
    process: { kind: 'flow', shift: 1, timeScale: 1000 },
  };
  const data = { count: 5000, classes: ['a'] };
  const image = (values: number[]) => ({
    images: Uint8Array.from(values),
    labels: new Int32Array(1),
    classes: ['a'],
    count: 1,
    height: 1,
    width: values.length,
    channels: 1 as const,
  });
  const before = (values: number[], change = {}) =>
    lookBefore({ ...config, ...change } as never, data as never, image(values)).join('\n');
  // With the ratio warm-up any decay averages over no more than the last ninth of a run.
  for (const [steps, decay] of [
    [10, 0.9999],
    [100, 0.9999],
    [500, 0.998],
    [2000, 0.9995],
  ]) {
    expect(before([0, 255, 128, 30], { steps, ema: { decay, sigmaRel: [] } })).toBe('');
  }
  expect(before([100, 100, 101, 100])).toMatch(/hardly vary/);
  expect(before([100, 110, 150, 130])).toMatch(/use only .* of the range/);
  expect(lookBefore({ ...config, ema: { sigmaRel: [] } } as never, data as never, image([0, 255, 9, 200]))).toEqual([]);
  const ending = (process: object) => before([0, 255, 9, 200], { ema: { sigmaRel: [] }, process });
  const discrete = { kind: 'discrete', betas: 'linear', steps: 1000, prediction: 'eps' };
  expect(ending(discrete)).toBe('');
  expect(ending({ ...discrete, betas: 'scaled-linear' })).toBe('');
  expect(ending({ ...discrete, steps: 100 })).toMatch(/60 % of a picture is left.* take 1000 steps, or cosine betas/);
  expect(ending({ ...discrete, steps: 100, betas: 'cosine' })).toBe('');
  expect(ending({ kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 2 })).toMatch(/45 % .* a larger sigmaMax/);
  const line = (step: number, loss: number, more = {}) => ({
    step,
    loss,
    learningRate: 1,
    gradientNorm: 0.5,
    seconds: 1,
    ...more,
  });
  const flat = Array.from({ length: 40 }, (_, i) => line(i, 1));
  expect(lookAfter(config as never, flat).join('\n')).toMatch(/did not fall/);
  const falling = Array.from({ length: 40 }, (_, i) =>
    line(i, 1 / (1 + i), { waited: 0.5, validationLoss: i < 20 ? 1 - i / 40 : 0.5 + i / 40 }),
  );
  expect(lookAfter(config as never, falling).join('\n')).toMatch(
    /best at update 19.*learns its pictures by heart[\s\S]*50 % of the time/,
  );
});
