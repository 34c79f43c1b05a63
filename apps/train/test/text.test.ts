import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { saveModel } from '@mezzotint/app';
import { runApp } from '@mezzotint/app/testing';
import { architectureOfKind } from '@mezzotint/architectures';
import type { AutoencoderKL } from '@mezzotint/autoencoders';
import { switchTo } from '@mezzotint/backend/testing';
import { encodePng, readLatentsIndex } from '@mezzotint/data';
import { openPipeline, type Request } from '@mezzotint/pipelines/node';
import { listSnapshots } from '@mezzotint/training/node';
import { readSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findCodec } from '../src/codec-files.js';
import { trainCommand } from '../src/command.js';
import { configFromFlags } from '../src/defaults.js';
import { encodeCommand, runEncode } from '../src/encode.js';
import { checkFrozen } from '../src/frozen.js';
import { posthocEmaCommand, runPosthocEma } from '../src/posthoc-ema.js';
import { trainRun } from '../src/train-run.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-text-'));
const pictures = join(root, 'pictures');
const clip = join(root, 'clip');
/** Tiny random models in diffusers' folders. */
const fixtures = fileURLToPath(new URL('../../../packages/pipelines/test/fixtures', import.meta.url));
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

const colours = { red: [240, 20, 20], green: [20, 220, 20], blue: [20, 20, 240] } as const;

/** Full 8 x 8 pictures of three colours in four shades, each with two captions. */
beforeAll(async () => {
  mkdirSync(pictures);
  const lines: string[] = [];
  for (const [name, colour] of Object.entries(colours)) {
    for (const shade of [0, 5, 10, 15]) {
      const file = `${name}-${shade}.png`;
      const data = Uint8Array.from({ length: 8 * 8 * 3 }, (_, e) => Math.max(0, colour[e % 3]! - shade));
      writeFileSync(join(pictures, file), encodePng({ data, height: 8, width: 8, channels: 3 }));
      lines.push(JSON.stringify({ file_name: file, captions: [`a ${name} square`, `${name}`] }));
    }
  }
  writeFileSync(join(pictures, 'captions.jsonl'), lines.join('\n'));
  const tower = { width: 16, mlpWidth: 32, layers: 2, heads: 2, activation: 'quick', epsilon: 1e-5 };
  const config = {
    task: 'clip',
    data: { kind: 'folder', path: pictures, size: 8, threads: 0 },
    tokenizer: { size: 520 },
    network: {
      text: { ...tower, vocabSize: 520, positions: 8, pooledToken: 519, projection: 12 },
      vision: { ...tower, imageSize: 8, patchSize: 4, channels: 3, projection: 12 },
    },
    ...{ steps: 20, batchSize: 12, learningRate: { peak: 3e-3 } },
  };
  writeFileSync(join(root, 'clip.json'), JSON.stringify(config));
  expect(await train('--config', join(root, 'clip.json'), '--run', clip)).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A tiny MM-DiT for pictures of 8 x 8 or latent images of 4 x 4. */
const mmdit = (channels: number, patchSize: number) => ({
  ...{ patchSize, inChannels: channels, outChannels: channels, depth: 2, width: 32, heads: 2, mlpRatio: 2 },
  ...{ contextWidth: 16, pooledWidth: 12, qkNorm: 'rms', dualAttentionLayers: [], positionGrid: 4, positionBase: 2 },
});

function configFile(name: string, change: object, encoder: object = {}): string {
  const file = join(root, `${name}.json`);
  const config = {
    task: 'diffusion',
    data: { kind: 'folder', path: pictures, size: 8, threads: 0 },
    ...{ architecture: 'MMDiT', network: mmdit(3, 4), recipe: 'flow' },
    conditions: { kind: 'captions', encoders: [{ from: clip, ...encoder }], prompts: ['a red square', 'blue'] },
    ...{ steps: 4, batchSize: 6, every: { log: 1, sample: 4, checkpoint: 2 } },
    sampling: { solver: 'euler', steps: 4, guidance: 2 },
    ...change,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

const run = (name: string) => join(root, name);
const meanOf = (data: Uint8Array) =>
  [0, 1, 2].map((c) => data.filter((_, e) => e % 3 === c).reduce((sum, byte) => sum + byte, 0) / (data.length / 3));

test('an MM-DiT learns colours by their captions, and the run opens with prompts and negative prompts', async () => {
  const change = {
    learningRate: { kind: 'constant', peak: 3e-3 },
    ...{ steps: 150, batchSize: 12, every: { log: 30, sample: 150, checkpoint: 150 } },
    ema: { decay: 0.9 },
  };
  expect(await train('--config', configFile('learns', change), '--run', run('learns'))).toMatchObject({ code: 0 });
  const log = readFileSync(join(run('learns'), 'log.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const losses = log.map((line) => (JSON.parse(line) as { loss: number }).loss);
  expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  expect(existsSync(join(run('learns'), 'samples', 'step-0000150.png'))).toBe(true);
  await switchTo('wasm');
  const pipeline = await openPipeline(run('learns'));
  const names = Object.keys(colours);
  const { images } = await pipeline.generate({ prompt: names.map((name) => `a ${name} square`), seed: 3, steps: 8 });
  images.forEach(({ data }, i) => {
    const mean = meanOf(data);
    expect(mean.indexOf(Math.max(...mean))).toBe(i);
  });
  // Away from red is less red than away from nothing.
  const blank = { prompt: '', seed: 5, steps: 8, guidance: 3 };
  const [away, plain] = [
    await pipeline.generate({ ...blank, negative: 'a red square' }),
    await pipeline.generate(blank),
  ];
  expect(meanOf(away.images[0]!.data)[0]).toBeLessThan(meanOf(plain.images[0]!.data)[0]!);
  pipeline.dispose();
});

test('averages of other lengths have their text encoder and open: those that were trained along are averaged too', async () => {
  const change = { ema: { decay: 0.9, sigmaRel: [0.1, 0.2], snapshotEvery: 2 } };
  const averaged = run('averaged');
  const file = configFile('averaged', change, { trained: true });
  expect(await train('--config', file, '--run', averaged)).toMatchObject({ code: 0 });
  const flags = ['--run', averaged, '--sigma-rel', '0.1,0.15'];
  expect(await runApp(posthocEmaCommand(), runPosthocEma, flags)).toMatchObject({ code: 0 });
  const folder = join(averaged, 'posthoc-ema', 'ema-0.1');
  const name = 'text_model.encoder.layers.0.mlp.fc1.weight';
  const { path } = listSnapshots(join(averaged, 'snapshots')).find(
    ({ sigmaRel, time }) => sigmaRel === 0.1 && time === 24,
  )!;
  const [own, stored] = [readSafetensors(join(folder, 'text_encoder', 'model.safetensors')), readSafetensors(path)];
  const expected = stored.read(`text.text_encoder.${name}`).data;
  for (const [i, value] of own.read(name).data.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  own.close();
  stored.close();
  await switchTo('wasm');
  for (const width of [0.1, 0.15]) {
    const pipeline = await openPipeline(join(averaged, 'posthoc-ema', `ema-${width}`));
    const { images } = await pipeline.generate({ prompt: 'red', seed: 1 });
    expect(images[0]).toMatchObject({ height: 8, width: 8, channels: 3 });
    pipeline.dispose();
  }
});

test.each([
  ['frozen', {}],
  ['trained along', { trained: true }],
])('a run with a text encoder that is %s goes on with the same bytes', async (name, encoder) => {
  const [whole, parts] = [run(`whole ${name}`), run(`parts ${name}`)];
  for (const folder of [whole, parts]) {
    expect(await train('--config', configFile(name, {}, encoder), '--run', folder)).toMatchObject({ code: 0 });
  }
  rmSync(join(parts, 'checkpoints', 'checkpoint-4'), { recursive: true });
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  for (const file of ['model', 'optimizer', 'average-ema']) {
    const bytes = (folder: string) => readFileSync(join(folder, 'checkpoints', 'checkpoint-4', `${file}.safetensors`));
    expect(bytes(parts).equals(bytes(whole))).toBe(true);
  }
  // What comes out has the encoder as it was, or as it became: its weights move only when it is trained.
  const weight = async (folder: string) => {
    const source = readSafetensors(join(folder, 'model.safetensors'));
    const { data } = await source.read('text_model.encoder.layers.0.mlp.fc1.weight');
    source.close();
    return Array.from(data);
  };
  const [before, after] = [await weight(join(clip, 'model')), await weight(join(whole, 'model', 'text_encoder'))];
  if (name === 'frozen') expect(after).toEqual(before);
  else expect(after).not.toEqual(before);
});

test('a run goes on with the text encoder that it was trained with, and not with another at the same place', async () => {
  const [own, folder] = [run('own clip'), run('own clip run')];
  cpSync(join(clip, 'model'), own, { recursive: true });
  const file = configFile('own-clip', { steps: 3 }, { from: own });
  expect(await train('--config', file, '--run', folder, '--until', '1')).toMatchObject({ code: 0 });
  const back = changeWeight(join(own, 'model.safetensors'), 'text_model.encoder.layers.0.mlp.fc1.weight');
  const { code, err } = await train('--resume', '--run', folder);
  expect(code).toBe(2);
  expect(err).toMatch(/was trained with another text encoder .*own clip than there is now/);
  back();
  expect(await train('--resume', '--run', folder, '--until', '2')).toMatchObject({ code: 0 });
  const vocabulary = readFileSync(join(own, 'merges.txt'), 'utf8');
  writeFileSync(join(own, 'merges.txt'), `${vocabulary.trimEnd().split('\n').slice(0, -1).join('\n')}\n`);
  expect((await train('--resume', '--run', folder)).err).toMatch(/another text encoder .*own clip than there is now/);
  // Checkpoints of older versions do not say.
  expect(() => checkFrozen('run', undefined, { 'text encoder a': 'b' })).not.toThrow();
  expect(() => checkFrozen('run', { 'text encoder a': 'b' }, { 'text encoder a': 'c' })).toThrow(
    /another text encoder a /,
  );
});

test('grids of a configuration with other pictures show their captions; captions that are cut are counted', async () => {
  const data = { kind: 'folder', path: run('nowhere'), size: 8, threads: 0, heldOut: 0.1 };
  const file = configFile('grids', { data, steps: 1 }, { length: 4 });
  const { code, out } = await train('--config', file, '--data', pictures, '--run', run('grids'));
  expect(code).toBe(0);
  const made = JSON.parse(readFileSync(join(run('grids'), 'config.json'), 'utf8'));
  expect(made.conditions).toMatchObject({ prompts: [], encoders: [{ from: clip, length: 4 }] });
  // Two tokens beside start and end: of this small vocabulary they hold no more than 'red'.
  expect(out).toMatch(/Note: 16 of 20 captions are longer than 4 tokens and are cut\./);
});

test.each([
  ['frozen', {}],
  ['trained along', { trained: true }],
])(
  'T5 as the text encoder, %s: it trains, resumes with the same bytes, and the run opens with a prompt',
  async (name, more) => {
    const t5 = join(fixtures, 'tiny-flux-dev', 'text_encoder_2');
    const { d_model: width } = JSON.parse(readFileSync(join(t5, 'config.json'), 'utf8')) as { d_model: number };
    const network = { ...mmdit(3, 4), contextWidth: width, pooledWidth: width };
    const change = {
      network,
      // Four updates of this size are enough for captions to be seen.
      ...{ learningRate: { kind: 'constant', peak: 0.03 }, ema: { decay: 0 } },
      conditions: { kind: 'captions', encoders: [{ from: t5, length: 8, ...more }], prompts: ['a red square', 'blue'] },
    };
    const [whole, parts] = [run(`t5 ${name}`), run(`t5 parts ${name}`)];
    for (const folder of [whole, parts]) {
      expect(await train('--config', configFile(`t5-${name}`, change), '--run', folder)).toMatchObject({
        code: 0,
        out: expect.stringContaining(`T5EncoderModel (8 tokens, ${name === 'frozen' ? 'as it is' : 'trained along'})`),
      });
    }
    rmSync(join(parts, 'checkpoints', 'checkpoint-4'), { recursive: true });
    expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
    const bytes = (folder: string) => readFileSync(join(folder, 'checkpoints', 'checkpoint-4', 'model.safetensors'));
    expect(bytes(parts).equals(bytes(whole))).toBe(true);

    // The encoder lies beside the model as transformers has it, as it was or as it became.
    const shared = async (folder: string) => {
      const source = readSafetensors(join(folder, 'model.safetensors'));
      const { data } = await source.read('shared.weight');
      source.close();
      return Array.from(data);
    };
    const [before, after] = [await shared(t5), await shared(join(whole, 'model', 'text_encoder'))];
    if (name === 'frozen') expect(after).toEqual(before);
    else expect(after).not.toEqual(before);
    await switchTo('wasm');
    const pipeline = await openPipeline(whole);
    const request = { seed: 1, steps: 2, guidance: 2 };
    const [red, blue] = [
      await pipeline.generate({ ...request, prompt: 'a red square' }),
      await pipeline.generate({ ...request, prompt: 'blue, blue and blue' }),
    ];
    expect(red.images[0]!.data).not.toEqual(blue.images[0]!.data);
    pipeline.dispose();
  },
);

/** Networks of every architecture that reads texts, as small as can be. */
const readers = [
  ['UViT', { width: 16, depth: 2, heads: 2 }, {}],
  ['ZigMa', { width: 16, depth: 2 }, {}],
  ['UNet2DCondition', { blockChannels: [8, 8], groups: 4, heads: [2, 2] }, {}],
  ['EfficientUNet', {}, { process: { kind: 'log-snr', curve: { kind: 'cosine' }, prediction: 'v', time: 'log-snr' } }],
] as const;

test.each(readers)(
  '%s reads captions, also where no pooled text goes into it, and opens with a prompt',
  async (name, small, change) => {
    const record = architectureOfKind('denoiser', name);
    const data = { imageSize: 8, channels: 3, classes: null, contextWidth: 16, contextTokens: 8, pooledWidth: 12 };
    const network = { ...(record.sized!('small', data) as object), ...small };
    const config = {
      architecture: name,
      network,
      ...change,
      ...('process' in change && { recipe: 'simple-diffusion' }),
    };
    const asked = {
      ...config,
      ...{
        steps: 2,
        every: { log: 1, sample: 2, checkpoint: 2 },
        sampling: { solver: 'euler', steps: 1, guidance: 2 },
      },
    };
    const folder = run(`reads ${name}`);
    expect(
      await train('--config', configFile(`reads-${name}`, asked, { trained: true }), '--run', folder),
    ).toMatchObject({
      code: 0,
    });
    await switchTo('wasm');
    const pipeline = await openPipeline(folder);
    const request = { seed: 1, steps: 2, guidance: 1 };
    const [red, blue] = [
      await pipeline.generate({ ...request, prompt: 'red' }),
      await pipeline.generate({ ...request, prompt: 'a blue square' }),
    ];
    expect(red.images[0]).toMatchObject({ height: 8, width: 8, channels: 3 });
    expect(blue.images[0]!.data).toHaveLength(red.images[0]!.data.length);
    pipeline.dispose();
  },
);

test('a folder with captions and a preset are enough: the configuration reads them by a new text encoder', async () => {
  const flags = { data: pictures, size: 8, run: run('preset') };
  expect(await configFromFlags(flags)).toMatchObject({
    ...{ architecture: 'UNet2DCondition', recipe: 'v-cosine', network: 'small' },
    conditions: { kind: 'captions', encoders: [{ new: 'small', vocabulary: 4096 }], dropout: 0.1 },
  });
  expect(await configFromFlags({ ...flags, architecture: 'MMDiT', textEncoder: clip })).toMatchObject({
    ...{ architecture: 'MMDiT', recipe: 'flow' },
    conditions: { encoders: [{ from: clip, skip: 1, trained: false }] },
  });
  const without = await configFromFlags({ ...flags, captions: false });
  expect(without).toMatchObject({ architecture: 'ADMUNet', recipe: 'v-cosine' });
  expect(without).not.toHaveProperty('conditions');
  expect(await configFromFlags({ ...flags, architecture: 'DiT' })).not.toHaveProperty('conditions');
  await expect(configFromFlags({ ...flags, architecture: 'DiT', textEncoder: clip })).rejects.toThrow(
    /DiT reads no texts/,
  );
  await expect(configFromFlags({ ...flags, captions: false, textEncoder: clip })).rejects.toThrow(/no --no-captions/);
});

test('a new text encoder is trained along and comes out with its vocabulary, and it is said', async () => {
  const conditions = { kind: 'captions', encoders: [{ new: 'small', vocabulary: 520, length: 8 }], prompts: ['red'] };
  const network = { ...mmdit(3, 4), contextWidth: 256, pooledWidth: 256 };
  const change = { conditions, network, steps: 1, batchSize: 2, sampling: { solver: 'euler', steps: 1, guidance: 1 } };
  const { code, out } = await train('--config', configFile('new', change), '--run', run('new'));
  expect(code).toBe(0);
  expect(out).toMatch(/conditioned on the captions, read by ClipTextModelWithProjection \(8 tokens, trained along\)\./);
  expect(out).toMatch(/Model: MMDiT and what is trained along/);
  const made = join(run('new'), 'model', 'text_encoder');
  expect(Object.keys(JSON.parse(readFileSync(join(made, 'vocab.json'), 'utf8')))).toHaveLength(520);
  expect(JSON.parse(readFileSync(join(made, 'config.json'), 'utf8'))).toMatchObject({
    vocab_size: 520,
    hidden_size: 256,
  });

  // Other captions give another vocabulary: the run does not go on with it, and says how a new one begins with what it learned.
  const lines = readFileSync(join(pictures, 'captions.jsonl'), 'utf8');
  writeFileSync(join(pictures, 'captions.jsonl'), lines.replaceAll('square', 'field'));
  try {
    const { err } = await train('--resume', '--steps', '2', '--run', run('new'), '--other-data');
    expect(err).toMatch(/--other-data: the vocabulary was learned of the captions, and these captions give another/);
    const begin = JSON.parse(`{${/this one learned: (.*)/.exec(err)![1]!}}`) as object;
    const again = await train('--config', configFile('again', { ...change, ...begin }), '--run', run('again'));
    expect(again).toMatchObject({ code: 0, out: expect.stringMatching(/tensors as they are, 0 adapted, 0 new/) });
  } finally {
    writeFileSync(join(pictures, 'captions.jsonl'), lines);
  }
});

/** A tiny autoencoder with random weights, as `train` writes it. */
async function writeVae(): Promise<string> {
  const vae = join(root, 'vae');
  const record = architectureOfKind('autoencoder', 'AutoencoderKL');
  const config = {
    ...(record.sized!('small', { imageSize: 8, channels: 3, classes: null }) as object),
    ...{ blockChannels: [4, 4], groups: 2 },
  };
  await switchTo('wasm');
  const model = record.build(config as never).init(1) as AutoencoderKL;
  const about = { format: 'mezzotint/autoencoder@1', architecture: 'AutoencoderKL', image: { size: 8, channels: 3 } };
  await saveModel(vae, { ...about, network: model.config } as never, model, { overwrite: true });
  return vae;
}

/** Adds 1 to the first number of a tensor in a safetensors file; gives what takes it back. */
function changeWeight(file: string, tensor: string): () => void {
  const before = readFileSync(file);
  const after = Buffer.from(before);
  const header = Number(after.readBigUInt64LE(0));
  const at = (JSON.parse(after.toString('utf8', 8, 8 + header)) as Record<string, { data_offsets: number[] }>)[tensor]!;
  const place = 8 + header + at.data_offsets[0]!;
  after.writeFloatLE(after.readFloatLE(place) + 1, place);
  writeFileSync(file, after);
  return () => writeFileSync(file, before);
}

test('a model of latent images says with which autoencoder it goes: for encoding, for --init, and for a run that goes on', async () => {
  const vae = await writeVae();
  const [latents, first] = [join(root, 'own latents'), run('own latent run')];
  const argv = ['--data', pictures, '--codec', vae, '--out', latents, '--engine', 'wasm'];
  expect(await runApp(encodeCommand(), runEncode, argv)).toMatchObject({ code: 0 });
  const change = { data: { kind: 'latents', path: latents }, network: mmdit(4, 2), steps: 1 };
  expect(await train('--config', configFile('own latent', change), '--run', first)).toMatchObject({ code: 0 });
  for (const place of [first, join(first, 'model')]) expect(findCodec(place)).toBe(join(first, 'model', 'codec'));
  expect(findCodec(vae)).toBe(vae);

  const begun = (name: string) => {
    const file = configFile(name, { ...change, init: { from: first } });
    return train('--config', file, '--run', run(name));
  };
  const same = await begun('same codec');
  expect(same).toMatchObject({ code: 0, out: expect.not.stringContaining('another autoencoder') });
  const back = changeWeight(join(latents, 'codec', 'model.safetensors'), 'decoder.conv_in.weight');
  const other = await begun('other codec');
  expect(other.code).toBe(0);
  expect(other.out).toMatch(/Note: the latent images are those of another autoencoder than .*run was trained with/);
  const more = await train('--resume', '--steps', '2', '--run', first);
  expect(more.err).toMatch(/was trained on latent images of another autoencoder .*--other-data/);
  back();
  expect(await train('--resume', '--steps', '2', '--run', first)).toMatchObject({ code: 0 });
});

test('latent images are encoded once, with captions and a held-out part, and a text model of them opens', async () => {
  const vae = await writeVae();
  const latents = join(root, 'latents');
  const encode = (out: string, ...flags: string[]) =>
    runApp(encodeCommand(), runEncode, [
      ...['--data', pictures, '--codec', vae, '--out', out, '--held-out-path', pictures, '--engine', 'wasm', ...flags],
    ]);
  const encoded = await encode(latents);
  expect(encoded).toMatchObject({ code: 0, out: expect.stringContaining('12 latent images of 4 x 4 x 4') });
  const index = readLatentsIndex(latents);
  expect(index).toMatchObject({ count: 12, height: 4, width: 4, channels: 4, image: [8, 8, 3] });
  expect(index.captions.map((own) => own.length)).toEqual(Array(12).fill(2));
  expect(readLatentsIndex(join(latents, 'held-out')).count).toBe(12);

  // A slash at the end of the name changes nothing; what is replaced are latent images only.
  expect((await encode(`${latents}/`, '--overwrite')).code).toBe(0);
  expect(readLatentsIndex(latents)).toEqual(index);
  expect(readdirSync(root).filter((name) => name.includes('partial'))).toEqual([]);
  const site = join(root, 'site');
  mkdirSync(site);
  writeFileSync(join(site, 'index.json'), '{}');
  expect((await encode(site, '--overwrite')).err).toMatch(/site is there already: and holds no latent images/);
  expect(readdirSync(site)).toEqual(['index.json']);

  const change = { data: { kind: 'latents', path: latents }, network: mmdit(4, 2) };
  expect(await train('--config', configFile('latent', change), '--run', run('latent'))).toMatchObject({ code: 0 });
  const last = JSON.parse(
    readFileSync(join(run('latent'), 'log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .at(-1)!,
  );
  expect(last.validationLoss).toBeGreaterThan(0);
  const made = JSON.parse(readFileSync(join(run('latent'), 'model', 'config.json'), 'utf8'));
  expect(made.latents).toEqual({ mean: index.mean, deviation: index.deviation });
  expect(made.image).toEqual({ size: 8, channels: 3 });
  const pipeline = await openPipeline(run('latent'));
  const { images } = await pipeline.generate({ prompt: 'a red square', seed: 1, steps: 2 });
  expect(images[0]).toMatchObject({ height: 8, width: 8, channels: 3 });

  // A damaged picture is passed over, and the part that was asked for is held out of few pictures, too.
  const damaged = join(root, 'damaged');
  cpSync(pictures, damaged, { recursive: true });
  const png = encodePng({ data: new Uint8Array(8 * 8 * 3).fill(9), height: 8, width: 8, channels: 3 });
  writeFileSync(join(damaged, 'cut.png'), png.subarray(0, png.length - 20));
  const few = join(root, 'latents-few');
  const asked = ['--codec', vae, '--out', few, '--held-out', '0.25', '--engine', 'wasm'];
  const passed = await runApp(encodeCommand(), runEncode, ['--data', damaged, ...asked]);
  expect(passed).toMatchObject({
    code: 0,
    out: expect.stringMatching(/Passed over: 1 picture that is damaged.*cut.png/),
  });
  expect([readLatentsIndex(few).count, readLatentsIndex(join(few, 'held-out')).count]).toEqual([9, 3]);

  // Mirrored latent images are taken where they were encoded, and asked for in vain elsewhere.
  const both = join(root, 'latents-flip');
  expect(await encode(both, '--flip')).toMatchObject({ code: 0, out: expect.stringMatching(/each mirrored, too/) });
  expect(readLatentsIndex(both).mirrored).toBe(true);
  expect(readLatentsIndex(join(both, 'held-out')).mirrored).toBeUndefined();
  expect(await configFromFlags({ data: both, flip: true, run: run('flip') })).toMatchObject({
    data: { kind: 'latents', path: both, flip: true },
  });
  const flips = (path: string) => configFile('flip', { ...change, data: { kind: 'latents', path, flip: true } });
  expect((await train('--config', flips(latents), '--run', run('flip'))).err).toMatch(
    /data.flip: .*latents has no mirrored latent images.*train encode --flip/,
  );
  const [once, parts] = [run('flip'), run('flip-parts')];
  for (const folder of [once, parts]) {
    const { code, out } = await train('--config', flips(both), '--run', folder);
    expect(code).toBe(0);
    expect(out).toMatch(/each or its mirrored one/);
  }
  rmSync(join(parts, 'checkpoints', 'checkpoint-4'), { recursive: true });
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  const weights = (folder: string) => readFileSync(join(folder, 'checkpoints', 'checkpoint-4', 'model.safetensors'));
  expect(weights(parts).equals(weights(once))).toBe(true);

  // Previews, image to image and inpainting go the way of every latent model.
  const { data, height, width, channels } = images[0]!;
  const image = { data, height, width, channels };
  const mask = {
    data: Uint8Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 255 : 0)),
    height: 8,
    width: 8,
    channels: 1,
  };
  let previews = 0;
  const request = { prompt: 'blue', image, mask, pasteBack: true, strength: 0.5, seed: 2, steps: 4 };
  for await (const step of pipeline.steps(request as Request)) {
    previews += (await step.preview()).length;
    if (step.images === null) continue;
    // What the mask leaves is the picture that was given.
    const kept = [...step.images[0]!.data].filter((_, e) => Math.floor(e / 3) % 8 >= 4);
    expect(kept).toEqual([...image.data].filter((_, e) => Math.floor(e / 3) % 8 >= 4));
  }
  expect(previews).toBe(2); // half of four steps
  pipeline.dispose();
});

test('what does not fit together is refused by name before there is a folder', async () => {
  const refused = async (name: string, change: object) =>
    (await train('--config', configFile(name, change), '--run', run(name))).err;
  expect(await refused('none', { conditions: undefined })).toMatch(/MMDiT reads texts; say by which encoders/);
  const dit = architectureOfKind('denoiser', 'DiT').sized!('small', { imageSize: 8, channels: 3, classes: null });
  expect(await refused('labels', { architecture: 'DiT', network: dit })).toMatch(/this DiT reads no texts/);
  const logNormal = { kind: 'log-normal', mean: 0, std: 1 };
  expect(await refused('log-normal', { density: logNormal })).toMatch(/density: log-normal is of EDM's process/);
  expect(await refused('density', { recipe: 'v-cosine', density: { kind: 'mode' } })).toMatch(
    /density: is of flows and of EDM's process/,
  );
  expect(existsSync(run('density'))).toBe(false);
});
