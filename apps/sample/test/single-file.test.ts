import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp } from '@mezzotint/app/testing';
import { useBackend } from '@mezzotint/backend';
import type { HostTensor } from '@mezzotint/core';
import { readImage, writePng } from '@mezzotint/data';
import { type OpenOptions, openPipeline, type Request } from '@mezzotint/pipelines/node';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';
import { sampleToFile } from '../src/sample-to-file.js';
import { type Kind, writePublishedShape } from './support/published-shape.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-single-'));
const at = (name: string) => join(root, name);
// Each file lies in a folder of its own: what is beside a file may be its tokenizer.
const files = (kind: Kind) => ({ folder: at(`${kind}/folder`), file: at(`${kind}/file/${kind}.safetensors`) });
const kinds: readonly Kind[] = ['sd1', 'sd1-inpainting', 'sd2', 'sd2-v', 'sdxl', 'refiner'];

beforeAll(async () => {
  await useBackend({ engine: 'wasm' });
  for (const kind of kinds) {
    mkdirSync(at(`${kind}/file`), { recursive: true });
    await writePublishedShape(kind, files(kind).folder, files(kind).file);
  }
  const grey = (of: (i: number) => number) => Uint8Array.from({ length: 16 * 16 }, (_, i) => of(i));
  const size = { height: 16, width: 16, channels: 1 } as const;
  await writePng(at('picture.png'), { ...size, data: grey((i) => (i * 5) % 256) });
  await writePng(at('mask.png'), { ...size, data: grey((i) => (i % 16 < 8 ? 255 : 0)) });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Asked = OpenOptions & Request & { readonly model: string };

/** Bytes of the one picture, and what the model was taken for. */
async function picture({ model, parts, tokenizer, prediction, refiner, ...request }: Asked) {
  const options = { parts, tokenizer, prediction, refiner } as OpenOptions;
  const pipeline = await openPipeline(model, options);
  try {
    const { images } = await pipeline.generate({ prompt: 'a red cat! ☃', steps: 2, height: 8, width: 8, ...request });
    return { images: images[0]!.data, taken: pipeline.description };
  } finally {
    pipeline.dispose();
  }
}

describe('one file makes the same picture as the folder whose files say everything', () => {
  const inpainting = { image: at('picture.png'), mask: at('mask.png') };
  test.each<[Kind, object, RegExp]>([
    ['sd1', {}, /^Stable Diffusion 1, predicting the noise/],
    ['sd1-inpainting', inpainting, /^Stable Diffusion 1 for inpainting, predicting the noise/],
    ['sd2', {}, /^Stable Diffusion 2, predicting the noise \(up_blocks.1.* deviates by 0.0\d+, not above 0.09/],
    ['sd2-v', {}, /^Stable Diffusion 2, predicting v \(up_blocks.1.* deviates by 0.2\d+, above 0.09/],
    ['sdxl', {}, /^SDXL, predicting the noise/],
    ['refiner', { image: at('picture.png') }, /^SDXL's refiner, predicting the noise/],
  ])('%s', async (kind, more, taken) => {
    const { folder, file } = files(kind);
    const said = await picture({ ...more, model: folder });
    const derived = await picture({ ...more, model: file });
    expect(derived.images).toEqual(said.images);
    expect(new Set(said.images).size).toBeGreaterThan(20); // A picture, not a constant.
    expect(derived.taken).toMatch(taken);
    expect(said.taken).toBe('StableDiffusionPipeline');
    // Sizes that nobody asked for are those that the family was trained with.
    const sizes = await Promise.all([openPipeline(file), openPipeline(folder)]);
    const [one, other] = sizes.map(({ defaults }) => [defaults.height, defaults.width]);
    expect(one).toEqual(other);
    for (const opened of sizes) opened.dispose();
  });

  test('SDXL hands over to its refiner', async () => {
    const of = (form: 'file' | 'folder') =>
      picture({ model: files('sdxl')[form], refiner: files('refiner')[form], denoisingEnd: 0.5, steps: 4 });
    expect((await of('file')).images).toEqual((await of('folder')).images);
  });
});

test('what the network predicts: the flag wins over the look of the file, marks over nothing', async () => {
  const { folder, file } = files('sd2-v');
  const asV = await picture({ model: file });
  const asNoise = await picture({ model: file, prediction: 'epsilon' });
  expect(asNoise.images).not.toEqual(asV.images);
  expect(asNoise.taken).toMatch(/predicting the noise \(the option prediction says so\)/);
  expect(asV.images).toEqual((await picture({ model: folder })).images);

  const state = readAll(files('sdxl').file);
  const marked = at('marked.safetensors');
  await writeSafetensors(marked, { ...state, v_pred: { shape: [1], data: Float32Array.of(1) } });
  expect((await picture({ model: marked })).taken).toMatch(/predicting v \(it has a tensor v_pred\)$/);
  const noisy = at('noisy.safetensors');
  const marks = { v_pred: { shape: [1], data: Float32Array.of(1) }, ztsnr: { shape: [1], data: Float32Array.of(1) } };
  await writeSafetensors(noisy, { ...state, ...marks });
  const zero = await openPipeline(noisy);
  expect(zero.description).toMatch(/ends in pure noise/);
  let first = 0;
  for await (const step of zero.steps({ prompt: 'a', steps: 1, height: 8, width: 8 })) first = step.count;
  expect(first).toBe(1);
  zero.dispose();
  const metadata = at('metadata.safetensors');
  await writeSafetensors(metadata, state, { metadata: { 'modelspec.prediction_type': 'v' } });
  const said = await openPipeline(metadata);
  expect(said.description).toMatch(/its metadata say so/);
  said.dispose();
  const older = at('older.safetensors');
  await writeSafetensors(older, state, { metadata: { 'modelspec.predict_key': 'v' } }); // as ComfyUI wrote it
  const comfy = await openPipeline(older);
  expect(comfy.description).toMatch(/predicting v \(its metadata say so\)/);
  comfy.dispose();
  const edm = at('edm.safetensors');
  await writeSafetensors(edm, { ...state, edm_mean: { shape: [4], data: new Float32Array(4) } });
  await expect(openPipeline(edm)).rejects.toThrow(/is SDXL retrained by EDM \(it has a tensor edm_mean\)/);
});

test('words: those of --tokenizer, those beside the file, and CLIP’s published ones', async () => {
  const { folder, file } = files('sd1');
  const plain = await picture({ model: file });
  expect((await picture({ model: file, tokenizer: join(folder, 'tokenizer') })).images).toEqual(plain.images);
  const tiny = fileURLToPath(new URL('./fixtures/tiny-sd/tokenizer', import.meta.url));
  const other = await picture({ model: file, tokenizer: tiny });
  expect(other.images).not.toEqual(plain.images);
  mkdirSync(at('beside'));
  cpSync(file, at('beside/model.safetensors'));
  cpSync(tiny, at('beside/tokenizer'), { recursive: true });
  expect((await picture({ model: at('beside/model.safetensors') })).images).toEqual(other.images);
});

test('the plain command, and the picture again from the recipe in it', async () => {
  const run = (...argv: string[]) => runApp(sampleCommand(), sampleToFile, argv);
  const small = ['--engine', 'wasm', '--height', '8', '--width', '8', '--steps', '2'];
  const [out, again] = [at('plain.png'), at('again.png')];
  const made = await run('--model', files('sd2-v').file, '--prompt', 'a cat', ...small, '--out', out);
  expect(made.code, made.err).toBe(0);
  expect(made.out).toMatch(/Model: Stable Diffusion 2, predicting v/);
  expect((await readImage(out)).height).toBe(8);
  expect((await run('--replay', out, '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(out))).toBe(true);
});

function readAll(file: string): Record<string, HostTensor> {
  const source = readSafetensors(file);
  const state = Object.fromEntries([...source.tensors.keys()].map((name) => [name, source.read(name)]));
  source.close();
  return state;
}

describe('what cannot be opened: one message that says what was read and what helps', () => {
  const without = async (name: string, prefix: string, kind: Kind = 'sd1') => {
    const state = readAll(files(kind).file);
    await writeSafetensors(
      at(name),
      Object.fromEntries(Object.entries(state).filter(([key]) => !key.startsWith(prefix))),
    );
    return at(name);
  };
  test('a file without one of its parts', async () => {
    const file = await without('no-text.safetensors', 'cond_stage_model.');
    await expect(picture({ model: file })).rejects.toThrow(
      /looks like Stable Diffusion 1, but has no text_encoder; it holds unet \(sd-unet, original layout\), vae .*option parts/,
    );
    const { folder } = files('sd1');
    expect((await picture({ model: file, parts: folder })).images).toEqual((await picture({ model: folder })).images);
    const xl = await without('no-vae.safetensors', 'first_stage_model.', 'sdxl');
    await expect(picture({ model: xl })).rejects.toThrow(/looks like SDXL, but has no vae; it holds unet/);
  });

  test('a file of another model, and a LoRA', async () => {
    const vae = readAll(join(files('sd1').folder, 'vae/diffusion_pytorch_model.safetensors'));
    await writeSafetensors(at('vae.safetensors'), vae);
    await expect(picture({ model: at('vae.safetensors') })).rejects.toThrow(
      /holds vae \(kl-vae, diffusers layout\), which no family can open; known are: .*Stable Diffusion 1, 2, XL/,
    );
    const lora = { 'lora_unet_conv_in.lora_up.weight': { shape: [2, 2], data: new Float32Array(4) } };
    await writeSafetensors(at('lora.safetensors'), lora);
    await expect(picture({ model: at('lora.safetensors') })).rejects.toThrow(
      /lora_unet_conv_in.*which no family can open/,
    );
  });

  test('a tensor that is missing inside of a part', async () => {
    const file = await without('hole.safetensors', 'model.diffusion_model.out.2.bias');
    await expect(picture({ model: file })).rejects.toThrow(/missing 1: conv_out.bias/);
  });

  test('a file that is cut off', async () => {
    const whole = readFileSync(files('sd1').file);
    const cut = at('cut.safetensors');
    writeFileSync(cut, whole.subarray(0, whole.length - 1000));
    await expect(picture({ model: cut })).rejects.toThrow(/cut\.safetensors/);
  });

  test('flags that do not go together', async () => {
    const folder = files('sd1').folder;
    const run = (...argv: string[]) =>
      runApp(sampleCommand(), sampleToFile, [
        '--engine',
        'cpu',
        '--model',
        folder,
        '--prompt',
        'a',
        ...argv,
        '--out',
        at('never.png'),
      ]);
    const gone = await run('--tokenizer', 'nowhere');
    expect(gone.code).toBe(2);
    expect(gone.err).toMatch(/--tokenizer: nowhere: no such file or folder/);
    const both = await run('--tokenizer', folder, '--prediction', 'v');
    expect(both.code).toBe(2);
    expect(both.err).toMatch(/tokenizer: is for a model in one file; a folder has its own/);
    expect(both.err).toMatch(/prediction: is for a model in one file; a folder has its own/);
    expect(existsSync(at('never.png'))).toBe(false);
  });
});
