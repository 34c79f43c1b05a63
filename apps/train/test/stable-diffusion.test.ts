import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp } from '@mezzotint/app/testing';
import { switchTo } from '@mezzotint/backend/testing';
import { drawShapes, encodePng, stackPictures } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { type OpenPipelineOptions, openPipeline } from '@mezzotint/pipelines/node';
import { encodeSdPrompts } from '@mezzotint/text-encoders';
import { readSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainCommand } from '../src/command.js';
import type { TrainConfig } from '../src/config.js';
import { openStableDiffusion, PLAIN } from '../src/stable-diffusion/open.js';
import { stackStates, textStates } from '../src/stable-diffusion/prompts.js';
import { savePipeline } from '../src/stable-diffusion/save.js';
import { trainRun } from '../src/train-run.js';

// What diffusers makes of these files is compared by tooling/golden/scripts/fine_tuned.py: the same pictures.

const root = mkdtempSync(join(tmpdir(), 'mezzotint-sd-'));
const pictures = join(root, 'pictures');
const model = fileURLToPath(new URL('../../sample/test/fixtures/tiny-sd', import.meta.url));
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'wasm', ...argv]);

/** Eight pictures in colour with captions of words that the tiny tokenizer has. */
beforeAll(async () => {
  await switchTo('wasm');
  mkdirSync(pictures);
  const { images, count } = drawShapes(8, { size: 20 });
  for (let i = 0; i < count; i++) {
    const data = images.subarray(i * 1200, (i + 1) * 1200);
    writeFileSync(join(pictures, `${i}.png`), encodePng({ data, height: 20, width: 20, channels: 3 }));
    writeFileSync(join(pictures, `${i}.txt`), ['a photo of the cat', 'the red dog'][i % 2]!);
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A configuration on the tiny model, as a file. */
function configFile(name: string, change: object): string {
  const file = join(root, `${name}.json`);
  const config = {
    task: 'stable-diffusion',
    model,
    data: { kind: 'folder', path: pictures, size: 16, labels: 'none', threads: 0 },
    ...{ steps: 2, batchSize: 2, every: { log: 1, sample: 2, checkpoint: 1 } },
    samples: { prompts: ['a photo of the cat'], steps: 2, guidance: 3 },
    learningRate: { peak: 0.02 },
    ...change,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** The picture of a run's last samples, made anew by the pipeline from what the run wrote. */
async function madeAnew(path: string, options: OpenPipelineOptions, prompt = 'a photo of the cat'): Promise<Buffer> {
  const pipeline = await openPipeline(path, options);
  const request = { prompt, seed: 0, height: 16, width: 16, steps: 2, guidance: 3, promptSyntax: 'plain' } as const;
  const { images } = await pipeline.generate(request);
  pipeline.dispose();
  return Buffer.from(encodePng(imageGrid(stackPictures(images), { columns: 1 })));
}

const lastSample = (run: string) => readFileSync(join(run, 'samples', 'step-0000002.png'));

/** Runs a configuration whole, and again with a stop in the middle; the checkpoints must be the same. */
async function wholeAndResumed(name: string, file: string): Promise<string> {
  const [whole, parts] = [join(root, `${name}-whole`), join(root, `${name}-parts`)];
  expect(await train('--config', file, '--run', whole)).toMatchObject({ code: 0 });
  expect(await train('--config', file, '--run', parts)).toMatchObject({ code: 0 });
  rmSync(join(parts, 'checkpoints', 'checkpoint-2'), { recursive: true });
  expect(await train('--resume', '--run', parts)).toMatchObject({ code: 0 });
  for (const part of ['model', 'optimizer']) {
    const bytes = (run: string) => readFileSync(join(run, 'checkpoints', 'checkpoint-2', `${part}.safetensors`));
    expect(bytes(parts).equals(bytes(whole))).toBe(true);
  }
  return whole;
}

test('a LoRA of UNet and text encoder: resumes exactly, and its files make the picture that the run showed', async () => {
  const lora = { rank: 2, textEncoder: true };
  const run = await wholeAndResumed('lora', configFile('lora', { lora, promptDropout: 0.3, weighting: 'min-snr' }));
  expect(readdirSync(join(run, 'lora')).sort()).toEqual([
    'lora-kohya.safetensors',
    'pytorch_lora_weights.safetensors',
    'text_encoder',
    'unet',
  ]);
  expect(readdirSync(join(run, 'lora', 'unet')).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  const plain = await madeAnew(model, {});
  for (const file of ['pytorch_lora_weights', 'lora-kohya']) {
    const made = await madeAnew(model, { lora: [{ path: join(run, 'lora', `${file}.safetensors`), scale: 1 }] });
    expect(made.equals(lastSample(run))).toBe(true);
    expect(made.equals(plain)).toBe(false);
  }
  expect(existsSync(join(run, 'model'))).toBe(false); // the model is where it was
});

test('the states of a batch stay whole while other batches are read for the same update', async () => {
  const opened = await openStableDiffusion(model);
  const statesOf = textStates(opened, await opened.tokenizer([]), [''], 2);
  const first = await statesOf(['a photo of the cat', 'the red dog']);
  const second = await statesOf(['the cat', 'a dog']);
  expect([...first.keys()]).toEqual(['', 'a photo of the cat', 'the red dog']);
  expect([...second.keys()]).toEqual(['', 'the cat', 'a dog']);
  const prompts = ['the red dog', '', 'the red dog'];
  const stacked = stackStates(prompts, first);
  const tokenizer = await opened.tokenizer([]);
  const expected = encodeSdPrompts({ encoder: opened.textEncoder, tokenizer }, prompts, PLAIN);
  expect(stacked.shape).toEqual(expected.shape);
  const numbers = expected.dataSync();
  // Sums of at most 77 terms of order 1, one prompt at a time and together.
  stacked.dataSync().forEach((value, i) => {
    expect(Math.abs(value - numbers[i]!)).toBeLessThan(1e-4);
  });
});

test('the UNet comes out in half precision when that is asked for', async () => {
  const { unet } = await openStableDiffusion(model);
  const bytes = async (half: boolean) => {
    const folder = join(root, `saved-${half}`);
    await savePipeline(folder, model, unet, { half });
    return statSync(join(folder, 'unet', 'diffusion_pytorch_model.safetensors')).size;
  };
  // 4 bytes a number and 2, beside the names.
  expect((await bytes(true)) / (await bytes(false))).toBeLessThan(0.75);
});

test('one command does it, with the blocks of the UNet recomputed', async () => {
  const run = join(root, 'one');
  const { code, out } = await train(
    ...['--data', pictures, '--init', model, '--lora', '2', '--size', '16', '--steps', '1', '--run', run],
  );
  expect(code).toBe(0);
  expect(out).toMatch(/Model: UNet2DCondition, [\d.]+ thousand parameters and an adapter of \d+, which are trained/);
  expect(out).toMatch(
    /Try it: pnpm sample --model .*tiny-sd --lora .*pytorch_lora_weights.safetensors --prompt "a photo of the cat"/,
  );
  const config = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')) as TrainConfig;
  expect(config).toMatchObject({
    task: 'stable-diffusion',
    batchSize: 1,
    learningRate: { kind: 'constant', peak: 1e-4 },
    optimizer: { kind: 'adamw', betas: [0.9, 0.999], weightDecay: 0.01 },
    ema: { decay: 0 },
  });
  expect(config.checkpointGradients).toContain('down_blocks.*.attentions.*');
});

test('a new token: resumes exactly, its files make the picture that the run showed, the vocabulary stays', async () => {
  const token = { text: '<kat>', initializer: 'cat', vectors: 2 };
  const samples = { prompts: ['a photo of <kat>'], steps: 2, guidance: 3 };
  const run = await wholeAndResumed('token', configFile('token', { token, samples }));
  expect(readdirSync(join(run, 'embeddings')).sort()).toEqual(['kat.safetensors', 'learned_embeds.safetensors']);
  for (const [file, options] of [
    ['learned_embeds', {}],
    ['kat', { token: '<kat>' }],
  ] as const) {
    const path = join(run, 'embeddings', `${file}.safetensors`);
    const made = await madeAnew(model, { textualInversion: [{ path, ...options }] }, 'a photo of <kat>');
    expect(made.equals(lastSample(run))).toBe(true);
  }
  const stored = await readSafetensors(join(run, 'embeddings', 'learned_embeds.safetensors'));
  const { shape, data } = await stored.read('<kat>');
  stored.close();
  const encoder = await readSafetensors(join(model, 'text_encoder', 'model.safetensors'));
  const table = await encoder.read([...encoder.tensors.keys()].find((key) => key.includes('token_embedding'))!);
  encoder.close();
  expect(shape).toEqual([2, table.shape[1]]);
  // Both began as the same row, and went apart from it and from each other.
  expect(data.slice(0, shape[1])).not.toEqual(data.slice(shape[1]));
});

test('DreamBooth: pictures of the class are made once and trained beside the others; a resumed run goes on exactly', async () => {
  const prior = { prompt: 'dog', count: 3, weight: 0.5 };
  const run = await wholeAndResumed('prior', configFile('prior', { lora: { rank: 2 }, prior, prompt: 'the cat' }));
  expect(readdirSync(join(run, 'prior')).sort()).toEqual(['00000.png', '00001.png', '00002.png']);
  // Given pictures in the place of made ones: the same training.
  const given = { ...prior, pictures: join(run, 'prior') };
  const other = join(root, 'prior-given');
  const file = configFile('prior-given', { lora: { rank: 2 }, prior: given, prompt: 'the cat' });
  expect(await train('--config', file, '--run', other)).toMatchObject({ code: 0 });
  const bytes = (of: string) => readFileSync(join(of, 'checkpoints', 'checkpoint-2', 'model.safetensors'));
  expect(bytes(other).equals(bytes(run))).toBe(true);
});

test('the whole UNet comes out as a folder of diffusers, which samples as the run did', async () => {
  const run = join(root, 'unet');
  expect(await train('--config', configFile('unet', {}), '--run', run)).toMatchObject({ code: 0 });
  expect((await madeAnew(join(run, 'model'), {})).equals(lastSample(run))).toBe(true);
});

test('what cannot be trained is said before there is a folder', async () => {
  const run = join(root, 'none');
  const refused = async (...argv: string[]) => {
    const { code, err } = await train('--data', pictures, '--run', run, ...argv);
    expect(code).toBe(2);
    expect(existsSync(run)).toBe(false);
    return err;
  };
  const xl = fileURLToPath(new URL('../../sample/test/fixtures/tiny-sdxl', import.meta.url));
  expect(await refused('--init', xl, '--lora', '2')).toMatch(/expected Stable Diffusion 1 or 2, got StableDiffusionXL/);
  expect(await refused('--init', model, '--token', '<kat>')).toMatch(
    /--initializer: expected a word that <kat> begins as/,
  );
  expect(await refused('--init', model, '--token', '<kat>', '--initializer', 'cat dog')).toMatch(/is 2 tokens/);
  expect(await refused('--init', model, '--token', 'cat', '--initializer', 'dog')).toMatch(/'cat' is a token already/);
  expect(await refused('--init', model, '--token', 'my cat', '--initializer', 'cat')).toMatch(
    /token.text: expected no spaces/,
  );
  expect(await refused('--init', model, '--lora', '2', '--size', '15')).toMatch(/data.size: expected a multiple of 2/);
  expect(await refused('--prompt', 'a cat')).toMatch(/--prompt: is for --init with a folder of Stable Diffusion/);
  const config = { lora: { rank: 2 }, half: true, data: { kind: 'folder', path: pictures, size: 16, heldOut: 0.3 } };
  const idle = await train('--config', configFile('idle', config), '--run', run);
  expect(idle.err).toMatch(/half: no model comes out beside a token or an adapter/);
  expect(idle.err).toMatch(/data.heldOut, data.heldOutPath: pictures are not scored here/);
  const bare = join(root, 'bare');
  mkdirSync(bare);
  writeFileSync(join(bare, 'a.png'), readFileSync(join(pictures, '0.png')));
  const { code, err } = await train('--data', bare, '--init', model, '--lora', '2', '--size', '16', '--run', run);
  expect(code).toBe(2);
  expect(err).toMatch(/1 of 1 pictures have no caption: say by prompt \(--prompt\) what they are/);
});
