import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { architectureOfKind } from '@mezzotint/architectures';
import { AutoencoderKL, digitsVae } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import type { ClassifierNetwork, DenoisingNetwork, HostTensor, Module } from '@mezzotint/core';
import { TorchGenerator } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data';
import { dit } from '@mezzotint/dit';
import { type MMDiTConfig, mmdit } from '@mezzotint/mmdit';
import { rin, warmStarted } from '@mezzotint/rin';
import {
  ddim,
  discreteTime,
  initialNoise,
  type Network,
  type NoiseSchedule,
  perImageNoise,
  processOf,
  sample,
  samplerFromProcess,
} from '@mezzotint/schedulers';
import { relativeError } from '@mezzotint/testing';
import { ClipTextModel, clipTokenizer, trainClipVocabulary } from '@mezzotint/text-encoders';
import { uvit } from '@mezzotint/uvit';
import { writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { withGuidingModel } from '../src/families/classes/guiding-model.js';
import { openPipeline, pipelineOfNetwork, type SavedPipelineRun } from '../src/node/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-own-'));
const digits = fileURLToPath(new URL('../../../models/digits', import.meta.url));
const classifier = fileURLToPath(new URL('../../../models/digits-classifier', import.meta.url));

const network = {
  ...dit.presets[0]!.config,
  ...{
    imageSize: 8,
    patchSize: 2,
    inChannels: 1,
    outChannels: 1,
    width: 8,
    depth: 1,
    heads: 2,
    classes: 2,
    nullLabel: true,
  },
};
const config = {
  format: 'mezzotint/diffusion@1',
  architecture: 'DiT',
  network,
  image: { size: 8, channels: 1 },
  classes: ['cat', 'dog'],
  process: { kind: 'discrete', betas: 'cosine', steps: 100, prediction: 'v' },
  sampling: { solver: 'ddim', steps: 3, guidance: 2 },
};

/** A run's folder with a model of an architecture that no code of pipelines names. */
async function writeRun(name: string, change: object = {}, size: object = {}): Promise<string> {
  const run = join(root, name);
  mkdirSync(join(run, 'model'), { recursive: true });
  writeFileSync(join(run, 'config.json'), JSON.stringify({ task: 'diffusion' }));
  writeFileSync(join(run, 'model', 'config.json'), JSON.stringify({ ...config, ...change }));
  const state: Record<string, HostTensor> = {};
  for (const [key, param] of dit.build({ ...network, ...size }).params()) {
    state[key] = { shape: param.fileShape, data: new TorchGenerator(key.length).randn(param.size).map((n) => 0.2 * n) };
  }
  await writeSafetensors(join(run, 'model', 'model.safetensors'), state);
  return run;
}

beforeAll(async () => void (await useBackend({ engine: 'cpu' })));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('a run’s folder of any registered architecture: labels by name, guidance, pictures of its size', async () => {
  const pipeline = await openPipeline(await writeRun('run'));
  expect(pipeline.classes).toEqual(['cat', 'dog']);
  const { images } = await pipeline.generate({ labels: 'dog,cat', count: 2, seed: 1 });
  expect(images.map(({ height, width, channels, job }) => [height, width, channels, job.label, job.seed])).toEqual([
    [8, 8, 1, 1, 1],
    [8, 8, 1, 1, 2],
    [8, 8, 1, 0, 3],
    [8, 8, 1, 0, 4],
  ]);
  // A picture does not depend on its batch, but on its label and on guidance.
  const one = async (request: object) => [...(await pipeline.generate({ seed: 1, ...request })).images[0]!.data];
  expect(await one({ labels: 'dog', batch: 1 })).toEqual([...images[0]!.data]);
  expect(await one({ labels: 'cat' })).not.toEqual([...images[0]!.data]);
  expect(await one({ labels: 'dog', guidance: 1 })).not.toEqual([...images[0]!.data]);
  pipeline.dispose();
});

test('a network whose latents go on from step to step (RIN) has them in a run, and they are freed', async () => {
  const network = {
    ...rin.presets[0]!.config,
    ...{ imageHeight: 8, imageWidth: 8, patchSize: 2, inChannels: 1, blocks: [1], latents: 4, latentWidth: 16 },
    ...{ latentHeads: 2, tokenWidth: 8, readWriteHeads: 2, classes: 2, dropout: 0, dropPath: 0 },
  };
  const curve = { kind: 'sigmoid', start: -3, end: 3, tau: 0.9 } as const;
  const process = { kind: 'log-snr', curve, prediction: 'eps', time: 'gamma', timeScale: 1 } as const;
  const run = await writeRun('rin', { architecture: 'RIN', network, process });
  const model = rin.build(network);
  const state: Record<string, HostTensor> = {};
  for (const [key, param] of model.params()) {
    state[key] = { shape: param.fileShape, data: new TorchGenerator(key.length).randn(param.size).map((n) => 0.3 * n) };
  }
  await model.load(state);
  await writeSafetensors(join(run, 'model', 'model.safetensors'), state, { overwrite: true });

  const pipeline = await openPipeline(run);
  const request = { labels: 'dog', seed: 3, steps: 3, guidance: 1 };
  const sampled = async () => {
    let last: Float32Array | undefined;
    for await (const { x } of pipeline.steps(request)) last = x.dataSync<'float32'>().slice();
    return last!;
  };
  const ours = await sampled();
  const before = tf.memory().numTensors;
  expect(await sampled()).toEqual(ours);
  expect(tf.memory().numTensors).toBe(before);

  // A run that is saved between two steps goes on with its latents: the same bits. Guided, its calls hold both halves.
  for (const guidance of [1, 2]) {
    const saved: SavedPipelineRun[] = [];
    const whole: Float32Array[] = [];
    for await (const step of pipeline.steps({ ...request, guidance })) {
      saved.push(await step.save());
      whole.push(step.x.dataSync<'float32'>().slice());
    }
    for (const [i, from] of saved.slice(0, 2).entries()) {
      expect(from.network).not.toBeNull();
      const rest: Float32Array[] = [];
      for await (const { x } of pipeline.steps({ ...request, guidance }, { from }))
        rest.push(x.dataSync<'float32'>().slice());
      expect(rest).toEqual(whole.slice(i + 1));
    }
    // It is the latents that make the difference.
    const fresh = { ...saved[0]!, network: null };
    for await (const { x, index } of pipeline.steps({ ...request, guidance }, { from: fresh }))
      if (index === 1) expect(x.dataSync()).not.toEqual(whole[1]);
  }
  expect(tf.memory().numTensors).toBe(before);

  const sampler = samplerFromProcess(process, { solver: 'ddim', limit: { kind: 'clip', range: 1 } });
  const schedule = sampler.schedule({ steps: 3 }) as NoiseSchedule<'vp'>;
  const noise = () => initialNoise(schedule, [1, 8, 8, 1], perImageNoise([3]));
  const cond = { labels: tf.tensor1d([1], 'int32') };
  const by = async (net: Network<typeof cond>) => {
    const model = sampler.finishEstimate(sampler.denoiser(net));
    return (await sample(ddim(), model, noise(), schedule, cond)).dataSync<'float32'>();
  };
  const warm = warmStarted(model);
  expect(relativeError(ours, await by(warm.network))).toBeLessThan(1e-5);
  expect(relativeError(ours, await by((x, time, { labels }) => model.forward(x, time, { labels })))).toBeGreaterThan(
    1e-3,
  );
  warm.dispose();
  model.dispose();
  pipeline.dispose();
});

test.each([
  { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80 },
  { kind: 'flow', shift: 1, timeScale: 1000 },
  { kind: 'log-snr', curve: { kind: 'cosine', min: -15, max: 15, shift: 0 }, prediction: 'v', time: 'fraction' },
  { kind: 'log-snr', curve: { kind: 'interpolated-cosine', size: 512, low: 32 }, prediction: 'v', time: 'fraction' },
  { kind: 'log-snr', curve: { kind: 'gamma-linear' }, prediction: 'eps', time: 'fraction' },
  { kind: 'log-snr', curve: { kind: 'gamma-cosine', start: 0.2 }, prediction: 'v', time: 'fraction' },
  { kind: 'log-snr', curve: { kind: 'gamma-offset-cosine' }, prediction: 'eps', time: 'fraction' },
  { kind: 'log-snr', curve: { kind: 'gamma-log' }, prediction: 'eps', time: 'fraction' },
])('a model of the process $kind $curve.kind samples too', async (process) => {
  const sampling = { solver: 'euler', steps: 2, guidance: 1.5 };
  const name = 'curve' in process ? process.curve!.kind : process.kind;
  const pipeline = await openPipeline(await writeRun(name, { process, sampling }));
  const { images } = await pipeline.generate({ labels: 'cat' });
  expect(new Set(images[0]!.data).size).toBeGreaterThan(4);
  pipeline.dispose();
});

test('a network that preconditions itself (EDM) is given x and sigma as they are', async () => {
  const { unet, ...rest } = architectureOfKind('denoiser', 'EDM').sized!('small', {
    ...{ imageSize: 8, channels: 1, classes: 2 },
  }) as unknown as { unet: object };
  const network = { ...rest, unet: { ...unet, modelChannels: 4, channelMult: [1], attentionSizes: [] } };
  const run = await writeRun('edm-class', {
    ...{ architecture: 'EDM', network },
    process: { kind: 'edm', sigmaData: 0.5, sigmaMin: 0.002, sigmaMax: 80, denoises: true },
    sampling: { solver: 'euler', steps: 2, guidance: 1 },
  });
  const model = architectureOfKind('denoiser', 'EDM').build(network).init(1);
  await writeSafetensors(join(run, 'model', 'model.safetensors'), await model.save(), { overwrite: true });
  const pipeline = await openPipeline(run);
  const { forward } = Object.getPrototypeOf(model) as DenoisingNetwork;
  let seen: { readonly x: tf.Tensor4D; readonly sigmas: number[] } | undefined;
  const spy = vi.spyOn(Object.getPrototypeOf(model) as DenoisingNetwork, 'forward');
  spy.mockImplementation(function (this: DenoisingNetwork, x, time, conditions) {
    seen ??= { x: tf.keep(tf.clone(x)), sigmas: [...time.dataSync()] };
    return forward.call(this, x, time, conditions);
  });
  const ran = pipeline.steps({ labels: 'cat', seed: 2 });
  const first = (await ran.next()).value!;
  const { x, sigmas } = seen!;
  expect(sigmas).toEqual([80]);
  expect(tf.moments(x).variance.sqrt().dataSync()[0]).toBeGreaterThan(60); // 64 numbers of deviation 80
  // The estimate is what the network says of them, clipped.
  const said = model.forward(x, tf.tensor1d(sigmas), { labels: tf.tensor1d([0], 'int32') });
  expect(relativeError(first.x0.dataSync<'float32'>(), tf.clipByValue(said, -1, 1).dataSync<'float32'>())).toBeLessThan(
    1e-6,
  );
  spy.mockRestore();
  await ran.return(undefined as never);
  pipeline.dispose();
});

test('the digits that come with the project, in few steps, with their classifier as a guide', async () => {
  const pipeline = await openPipeline(digits, { classifier });
  const { images } = await pipeline.generate({ labels: '7', seed: 2, steps: 2, classifierScale: 0.5 });
  expect(images[0]).toMatchObject({ height: 28, width: 28, channels: 1 });
  const before = tf.memory().numTensors;
  await pipeline.generate({ labels: '7', seed: 2, steps: 2 });
  expect(tf.memory().numTensors).toBe(before);
  pipeline.dispose();
});

test('a classifier is told the time of its own process, and shown x as that has it, whatever the model steps in', async () => {
  const judge = async (name: string, classes: string[]) => {
    const folder = join(root, name);
    const record = architectureOfKind('classifier', 'NoisyClassifier');
    const own = record.sized!('small', { imageSize: 8, channels: 1, classes: 2 }) as object;
    const small = {
      ...own,
      modelChannels: 8,
      channelMult: [1],
      attentionResolutions: [],
      heads: { count: 1 },
      groups: 4,
    };
    mkdirSync(folder);
    const about = {
      format: 'mezzotint/classifier@1',
      architecture: record.name,
      image: { size: 8, channels: 1 },
      classes,
    };
    const process = { kind: 'discrete', betas: 'linear', steps: 1000, prediction: 'eps' };
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...about, network: small, process }));
    const module = record.build(small as never).init(1);
    await writeSafetensors(join(folder, 'model.safetensors'), await module.save());
    return { folder, module };
  };
  const { folder, module } = await judge('judge', ['cat', 'dog']);
  const { forward } = Object.getPrototypeOf(module) as ClassifierNetwork;
  const spy = vi.spyOn(Object.getPrototypeOf(module) as ClassifierNetwork, 'forward');
  // All three begin where sigma / alpha is 80.
  const first = discreteTime(processOf({ betas: 'linear', steps: 1000 }))({ alpha: 1, sigma: 80 });
  expect(first).toBeGreaterThan(900);
  for (const [name, process, solver] of [
    ['edm', { kind: 'edm' }, { solver: 'euler' }],
    ['flow', { kind: 'flow' }, { solver: 'euler', solverOptions: { sigmas: 'karras' } }],
    ['cosine', config.process, { solver: 'pc-ve' }],
  ] as const) {
    const pipeline = await openPipeline(await writeRun(`judged-${name}`, { process }), { classifier: folder });
    const shown: { readonly deviation: number; readonly time: number }[] = [];
    spy.mockImplementation(function (this: ClassifierNetwork, x, time, inputs) {
      shown.push({ deviation: tf.moments(x).variance.sqrt().dataSync()[0]!, time: time.dataSync()[0]! });
      return forward.call(this, x, time, inputs);
    });
    await pipeline.generate({ labels: 'cat', seed: 2, steps: 3, guidance: 1, ...solver });
    // That is noise alone, nearly: 64 numbers of deviation 1.
    expect(shown[0]!.deviation, name).toBeGreaterThan(0.7);
    expect(shown[0]!.deviation, name).toBeLessThan(1.3);
    expect(shown[0]!.time, name).toBeCloseTo(first, 3);
    pipeline.dispose();
  }
  spy.mockRestore();
  const other = await judge('other-judge', ['dog', 'cat']);
  await expect(openPipeline(join(root, 'judged-edm'), { classifier: other.folder })).rejects.toThrow(
    /expected the classes of the model \(cat, dog\), got dog, cat/,
  );
});

test('another model of train guides: w D + (1 - w) D_weaker, in the place of classifier-free guidance', async () => {
  const size = { width: 16, heads: 4 };
  const [main, weaker] = [await writeRun('main'), await writeRun('weaker', { network: { ...network, ...size } }, size)];
  const pipeline = await openPipeline(main, { guidingModel: weaker });
  const request = { labels: 'dog', seed: 2, steps: 2 };
  const estimate = async (opened: typeof pipeline, guidance: number) => {
    for await (const step of opened.steps({ ...request, guidance })) return [...step.x0.dataSync()];
    return [];
  };
  const [alone, smaller] = [await openPipeline(main), await openPipeline(weaker)];
  const [d, w] = [await estimate(alone, 1), await estimate(smaller, 1)];
  const expected = d.map((value, i) => Math.min(Math.max(1.7 * value - 0.7 * w[i]!, -1), 1));
  // The two were clipped to [-1, 1] each, the guided one once.
  const inside = expected.map((_, i) => Math.abs(d[i]!) < 1 && Math.abs(w[i]!) < 1);
  expect(inside.filter(Boolean).length).toBeGreaterThan(10);
  const guided = await estimate(pipeline, 1.7);
  expected.forEach((value, i) => {
    if (inside[i]) expect(guided[i]).toBeCloseTo(value, 4);
  });
  expect(await estimate(pipeline, 1)).toEqual(d);
  await expect(pipeline.check({ ...request, guide: [{ name: 'apg' }] })).rejects.toThrow(
    /needs a condition to guide away/,
  );
  const other = await writeRun('other-classes', { classes: ['cat', 'cow'] });
  await expect(openPipeline(main, { guidingModel: other })).rejects.toThrow(/has classes \["cat","cow"\], the model/);
  for (const opened of [pipeline, alone, smaller]) opened.dispose();
});

test('beside a guiding model there is no negative prompt, which nothing would read', () => {
  const definition = {
    description: 'a model',
    stages: [{ parts: { sample: [] } }],
    parts: [],
    takes: ['prompt', 'negative'],
  };
  const guiding = { network: {}, part: { name: 'guiding', weights: { name: 'weaker' } } };
  const { takes } = withGuidingModel(definition as never, guiding as never);
  expect(takes).toEqual(['prompt', 'guidance', 'guidanceInterval']);
});

/** A run of latent images 2x2x4 with the statistics of its training set, and a small autoencoder of ours in `codec/`. */
async function writeLatentRun(name: string, change: object = {}) {
  const latents = { mean: [0.5, -1, 0, 2], deviation: [2, 0.5, 1, 3] };
  const net = { ...network, imageSize: 2, patchSize: 1, inChannels: 4, outChannels: 4 };
  const run = await writeRun(name, { network: net, latents, ...change });
  const model = dit.build(net);
  const vae = new AutoencoderKL({ ...digitsVae.config, blockChannels: [8, 8, 8], groups: 4 });
  const states = [model, vae].map((module) => {
    const state: Record<string, HostTensor> = {};
    for (const [key, param] of module.params()) {
      const data = new TorchGenerator(key.length).randn(param.size).map((n) => 0.2 * n);
      state[key] = { shape: param.fileShape, data };
    }
    return state;
  });
  const codec = join(run, 'model', 'codec');
  mkdirSync(codec);
  const about = { format: 'mezzotint/autoencoder@1', architecture: 'AutoencoderKL', image: { size: 8, channels: 1 } };
  writeFileSync(join(codec, 'config.json'), JSON.stringify({ ...about, network: vae.config }));
  await writeSafetensors(join(run, 'model', 'model.safetensors'), states[0]!, { overwrite: true });
  await writeSafetensors(join(codec, 'model.safetensors'), states[1]!);
  await model.load(states[0]!);
  await vae.load(states[1]!);
  return { run, model, vae, latents, codec, config: { ...config, network: net, latents } };
}

test('a model of latent images has its autoencoder in codec/: pixels are decode(mean + deviation z), unclipped', async () => {
  const { run, model, vae, latents, config } = await writeLatentRun('latents');
  const pipeline = await openPipeline(run);
  const request = { labels: 'dog', seed: 4, steps: 2, guidance: 2 };
  let last: tf.Tensor4D | undefined;
  let image: readonly number[] | undefined;
  for await (const step of pipeline.steps(request)) {
    if (step.images === null) continue;
    last = tf.clone(step.x);
    image = [...step.images[0]!.data];
    expect(step.images[0]).toMatchObject({ height: 8, width: 8, channels: 1 });
  }
  expect(last!.shape).toEqual([1, 2, 2, 4]);
  const pixels = tf.tidy(() => vae.decode(tf.add(tf.mul(last!, latents.deviation), latents.mean) as tf.Tensor4D));
  const bytes = [...pixels.dataSync()].map((v) => Math.min(Math.max(Math.round((v + 1) * 127.5), 0), 255));
  expect(Math.max(...bytes.map((byte, i) => Math.abs(byte - image![i]!)))).toBeLessThanOrEqual(1);
  expect(new Set(image).size).toBeGreaterThan(8);

  // The same model in memory, as the trainer shows it: the same picture, and its weights stay.
  const inMemory = pipelineOfNetwork(config as never, model, vae);
  expect([...(await inMemory.generate(request)).images[0]!.data]).toEqual(image);
  inMemory.dispose();
  expect([...(await pipelineOfNetwork(config as never, model, vae).generate(request)).images[0]!.data]).toEqual(image);
  expect(() => pipelineOfNetwork(config as never, model)).toThrow(/expected its autoencoder/);
  tf.dispose([last!, pixels]);
  for (const held of [pipeline, model, vae]) held.dispose();
});

test('the codec may be an autoencoder of diffusers; one that is missing or does not fit is refused by name', async () => {
  const problem = async (name: string, change: object, prepare: (codec: string) => void) => {
    const { run, codec } = await writeLatentRun(name, change);
    prepare(codec);
    return openPipeline(run).then(
      (pipeline) => pipeline.generate({ labels: 'dog', steps: 1 }).then(({ images }) => images[0]!.channels),
      (error: Error) => error.message,
    );
  };
  const vae = fileURLToPath(new URL('./fixtures/tiny-vae', import.meta.url));
  const foreign = (codec: string) => {
    rmSync(codec, { recursive: true });
    cpSync(vae, codec, { recursive: true });
  };
  expect(await problem('of-diffusers', { image: { size: 4, channels: 3 } }, foreign)).toBe(3);
  expect(await problem('grey', {}, foreign)).toMatch(
    /its pictures have 3 channels, the configuration says 1\s+codec: its latent images of 8 pixels a side have 4, the network takes 2/,
  );
  expect(await problem('none', {}, (codec) => rmSync(codec, { recursive: true }))).toMatch(
    /none\/model\/codec: is not there: a model of latent images needs its autoencoder/,
  );
  const latents = { mean: [0, 0], deviation: [1, 1] };
  expect(await problem('two', { latents }, () => {})).toMatch(/latents: 2 means of channels, the network takes 4/);
});

/** Seeded weights in the place of a network's own, none of them zero. */
function filled<M extends Module>(module: M): M {
  for (const [key, param] of module.params()) {
    const data = new TorchGenerator(key.length).randn(param.size).map((n) => 0.2 * n);
    param.fromHost({ shape: param.fileShape, data });
  }
  return module;
}

/** A pipeline of a network whose text encoder, 8 wide, reads 4 tokens of a text, for pictures of 8 x 8 pixels. */
function pipelineOfTexts(
  architecture: string,
  network: DenoisingNetwork & { config: object },
  channels: 1 | 3,
  vae?: AutoencoderKL,
) {
  const vocabulary = trainClipVocabulary(['a red cat', 'a red dog', 'a blue cat', 'a blue dog'], { size: 600 });
  const vocabSize = Object.keys(vocabulary.vocab).length;
  const tower = { width: 8, mlpWidth: 16, layers: 1, heads: 2, activation: 'quick', epsilon: 1e-5 } as const;
  const text = { ...tower, vocabSize, positions: 8, pooledToken: vocabSize - 1, projection: null };
  const about = {
    ...{
      format: 'mezzotint/diffusion@1',
      architecture,
      network: network.config,
      image: { size: 8, channels },
      classes: [],
    },
    ...(vae && { latents: { mean: [0, 0, 0, 0], deviation: [1, 1, 1, 1] } }),
    text: { encoders: [{ folder: 'text_encoder', length: 6, skip: 0 }] },
    process: { kind: 'flow', shift: 1, timeScale: 1000 },
    sampling: { solver: 'euler', steps: 4, guidance: 2 },
  };
  return pipelineOfNetwork(about as never, filled(network), vae, [
    { encoder: filled(new ClipTextModel(text)), tokenizer: clipTokenizer(vocabulary, { maxLength: 8 }) },
  ]);
}

/** The same of an MM-DiT that has positions for 8 x 8 patches. */
function textPipeline(channels: 1 | 3, vae?: AutoencoderKL) {
  const inChannels = vae ? 4 : channels;
  const network: MMDiTConfig = {
    ...{ patchSize: vae ? 1 : 2, inChannels, outChannels: inChannels, depth: 1, width: 8, heads: 2, mlpRatio: 2 },
    ...{ contextWidth: 8, pooledWidth: 8, qkNorm: 'none', dualAttentionLayers: [], positionGrid: 8, positionBase: 4 },
  };
  return pipelineOfTexts('MMDiT', mmdit.build(network), channels, vae);
}

const picture = (height: number, width: number): Bitmap => ({
  ...{ height, width, channels: 3 },
  data: Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * 37) % 256),
});

describe('image to image with a model of texts', () => {
  /** Pillow's `L`. */
  const grey = ({ data }: Bitmap) =>
    Array.from({ length: data.length / 3 }, (_, i) => {
      const [r, g, b] = data.subarray(3 * i, 3 * i + 3);
      return (r! * 19595 + g! * 38470 + b! * 7471 + 0x8000) >> 16;
    });
  const image = picture(8, 8);
  const mask = (of: (x: number) => number): Bitmap => ({
    ...{ height: 8, width: 8, channels: 1 },
    data: Uint8Array.from({ length: 64 }, (_, i) => of(i % 8)),
  });
  const prompt = 'a red cat';

  test.each([3, 1] as const)('of pixels with %i channels: strength, mask and paste-back', async (channels) => {
    const pipeline = textPipeline(channels);
    const before = tf.memory().numTensors;
    const own = channels === 3 ? [...image.data] : grey(image);
    const make = async (request: object) => {
      const [made] = (await pipeline.generate({ prompt, image, seed: 1, ...request })).images;
      expect(made).toMatchObject({ height: 8, width: 8, channels });
      return [...made!.data];
    };
    const distance = (made: readonly number[]) => made.reduce((sum, byte, i) => sum + Math.abs(byte - own[i]!), 0);
    expect(distance(await make({ strength: 0.25 }))).toBeLessThan(0.7 * distance(await make({ strength: 1 })));
    // Nothing is made anew behind a black mask.
    expect(await make({ mask: mask(() => 0), strength: 0.5 })).toEqual(own);
    for (const request of [{}, { strength: 0.5 }, { pasteBack: true }]) {
      const made = await make({ mask: mask((x) => (x < 4 ? 255 : 0)), ...request });
      const right = (list: readonly number[]) => list.filter((_, i) => Math.floor(i / channels) % 8 >= 4);
      expect(right(made)).toEqual(right(own));
      expect(made).not.toEqual(own);
    }
    expect(tf.memory().numTensors).toBe(before);
    pipeline.dispose();
  });

  test('of latent images of grey pictures: colours become grey', async () => {
    const vae = filled(new AutoencoderKL({ ...digitsVae.config, blockChannels: [8, 8, 8], groups: 4 }));
    const pipeline = textPipeline(1, vae);
    const { images } = await pipeline.generate({ prompt, image, mask: mask(() => 0), pasteBack: true });
    expect(images[0]).toMatchObject({ height: 8, width: 8, channels: 1 });
    expect([...images[0]!.data]).toEqual(grey(image));
    pipeline.dispose();
  });

  test('sides that the network has no positions for are refused before it runs, in pixels, with what to give', async () => {
    const pipeline = textPipeline(3);
    const wrong = (request: object) =>
      pipeline.check({ prompt, ...request }).then(
        () => 'taken',
        (e: Error) => e.message,
      );
    expect(await wrong({ height: 18, width: 7 })).toMatch(
      /height: expected a multiple of 2, at most 16, got 18[\s\S]*width: expected a multiple of 2, at most 16, got 7/,
    );
    const large = await wrong({ image: picture(40, 21) });
    expect(large).toMatch(/image: expected at least 2 and at most 16 pixels a side, got height 40, width 21/);
    expect(large).toMatch(/give height and width, such as height 16 and width 8$/);
    expect(await wrong({ image: picture(1, 1) })).toMatch(
      /got height 1, width 1; give height and width, such as height 2 /,
    );
    for (const taken of [
      { height: 16, width: 8 },
      { height: 16, width: 8, image: picture(40, 21) },
      { image: picture(17, 9) },
    ])
      expect(await wrong(taken)).toBe('taken');
    pipeline.dispose();
  });
});

test('a model of texts that makes one size takes a start picture of any size at its own', async () => {
  const context = { tokens: 6, width: 8 };
  const size = { imageSize: 8, patchSize: 2, inChannels: 3, width: 8, depth: 2, heads: 2, context };
  const pipeline = pipelineOfTexts(
    'UViT',
    uvit.build({ ...uvit.presets[0]!.config, ...size, classes: null, nullLabel: false }),
    3,
  );
  const { images } = await pipeline.generate({ prompt: 'a red cat', image: picture(5, 40), steps: 2 });
  expect(images[0]).toMatchObject({ height: 8, width: 8 });
  pipeline.dispose();
});

test('words that the text encoder does not read are told, once for each prompt', async () => {
  const pipeline = textPipeline(3);
  const notesOf = async (request: object) => {
    const notes: string[] = [];
    await pipeline.generate({ steps: 1, ...request }, { onNote: (line) => notes.push(line) });
    return notes;
  };
  const cut = "the prompt is longer than 4 tokens; cut off: 'cat'";
  expect(await notesOf({ prompt: 'a red dog blue cat', count: 2, batch: 1 })).toEqual([cut]);
  expect(await notesOf({ prompt: 'a dog', negative: 'a red dog blue cat' })).toEqual([cut]);
  expect(await notesOf({ prompt: 'a red dog blue cat', guide: [{ name: 'perp-neg' }], negative: 'a dog' })).toEqual([
    cut,
  ]);
  expect(await notesOf({ prompt: 'a red dog blue' })).toEqual([]);
  pipeline.dispose();
});

test('a configuration that does not fit: every problem, by name', async () => {
  const problem = async (change: object) => {
    const run = await writeRun(`bad-${Object.keys(change).join('-')}`, change);
    return openPipeline(run).then(
      () => 'it opened',
      (error: Error) => error.message,
    );
  };
  expect(await problem({ architecture: 'DiTT' })).toMatch(/expected one of .*ADMUNet.*DiT.*, got 'DiTT'/);
  expect(await problem({ network: { ...network, wdith: 8 } })).toMatch(/wdith: unknown setting/);
  expect(await problem({ classes: ['cat'], image: { size: 8, channels: 3 } })).toMatch(
    /image.channels is 3, the network takes 1; there are 1 names of classes, the network has 2/,
  );
  expect(await problem({ sampling: { solver: 'eulr', steps: 1, guidance: 1 } })).toMatch(/unknown solver 'eulr'/);
  expect(await problem({ process: { kind: 'discrete', betas: 'quadratic', steps: 1, prediction: 'v' } })).toMatch(
    /process.betas[\s\S]*process.steps/,
  );
});
