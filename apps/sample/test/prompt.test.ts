import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp } from '@mezzotint/app/testing';
import { readImage, readPngText, toBytes, writePng } from '@mezzotint/data';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';
import { sampleToFile } from '../src/sample-to-file.js';
import { originalLayout } from './support/original-layout.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-prompt-'));
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const model = fixture('tiny-sd');
const sample = (...argv: string[]) => runApp(sampleCommand(), sampleToFile, ['--engine', 'cpu', ...argv]);
const golden = readSafetensors(fixture('stable-diffusion.safetensors'));

/** Largest difference of a picture's bytes from a golden `[1, H, W, 3]` in [0, 1]. */
async function worst(file: string, name: string): Promise<number> {
  const { data } = await readImage(file);
  const expected = toBytes(Float32Array.from(golden.read(name).data, (value) => 2 * value - 1));
  expect(data.length).toBe(expected.length);
  return data.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
}

beforeAll(async () => {
  const { data } = golden.read('picture'); // [1, 3, 16, 24]
  const pixels = 16 * 24;
  const hwc = Float32Array.from(data, (_, i) => 2 * data[(i % 3) * pixels + Math.floor(i / 3)]! - 1);
  await writePng(join(root, 'picture.png'), { data: toBytes(hwc), height: 16, width: 24, channels: 3 });
  const mask = Uint8Array.from(golden.read('mask').data, (value) => 255 * value);
  await writePng(join(root, 'mask.png'), { data: mask, height: 16, width: 24, channels: 1 });
});
afterAll(() => {
  golden.close();
  rmSync(root, { recursive: true, force: true });
});

const words = ['--prompt', 'a red cat on the dog', '--negative', 'blue photo', '--steps', '5', '--guidance', '5'];

test('a prompt becomes diffusers’ picture; the recipe in it makes the same file again', async () => {
  const file = join(root, 'a.png');
  const made = await sample(
    '--model',
    model,
    ...words,
    '--seed',
    '7',
    '--height',
    '16',
    '--width',
    '24',
    '--out',
    file,
    '--json',
  );
  expect(made.code, made.err).toBe(0);
  // The tolerance of 1e-4 on the picture may turn one rounding.
  expect(await worst(file, 'sd-pndm.images')).toBeLessThanOrEqual(1);
  expect(JSON.parse(made.out)).toMatchObject({
    file,
    seed: 7,
    guidance: 5,
    negative: 'blue photo',
    height: 16,
    width: 24,
  });
  expect(JSON.parse((await readPngText(file)).mezzotint!)).toMatchObject({ prompt: words[1], engine: 'cpu', steps: 5 });

  const again = join(root, 'a-again.png');
  expect((await sample('--replay', file, '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(file))).toBe(true);
});

test('SDXL with its refiner, at a share of the noise', async () => {
  const file = join(root, 'xl.png');
  const { code, err } = await sample(
    ...['--model', fixture('tiny-sdxl'), '--refiner', fixture('tiny-sdxl-refiner'), '--handover', '0.4'],
    ...['--prompt', words[1]!, '--steps', '5', '--seed', '33', '--height', '16', '--width', '24', '--out', file],
  );
  expect(err).toMatch(/Sampling/);
  expect(code).toBe(0);
  expect(await worst(file, 'xl-refiner.images')).toBeLessThanOrEqual(1);
});

test('image and mask become diffusers’ inpainted picture', async () => {
  const file = join(root, 'inpainted.png');
  const { code, err } = await sample(
    ...['--model', model, '--prompt', 'a red cat', '--negative', 'blue', '--guidance', '5', '--seed', '15'],
    ...['--image', join(root, 'picture.png'), '--mask', join(root, 'mask.png'), '--strength', '0.8'],
    ...['--steps', '5', '--solver', 'ddim', '--out', file],
  );
  expect(code, err).toBe(0);
  expect(await worst(file, 'sd-inpaint.images')).toBeLessThanOrEqual(1);
});

test('image i has the seed n + i, whatever the batch', async () => {
  const run = async (name: string, ...argv: string[]) => {
    const file = join(root, name);
    const { code, err } = await sample(
      '--model',
      model,
      '--prompt',
      'dog',
      '--steps',
      '2',
      '--height',
      '8',
      '--width',
      '8',
      '--out',
      file,
      ...argv,
    );
    expect(code, err).toBe(0);
    return readImage(file);
  };
  const three = await run('three.png', '--count', '3', '--batch', '2', '--columns', '3', '--seed', '4');
  const last = await run('last.png', '--seed', '6');
  const right = Array.from({ length: 8 }, (_, row) =>
    three.data.slice(((row + 2) * 32 + 22) * 3, ((row + 2) * 32 + 30) * 3),
  ).flatMap((r) => [...r]);
  expect(three).toMatchObject({ height: 12, width: 32 }); // three pictures of 8, gaps of 2
  expect(right).toEqual([...last.data]);
});

test('a LoRA is merged, and refused when a layer of it has no home', async () => {
  const layer = 'down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k';
  const data = (n: number) => Float32Array.from({ length: n }, (_, i) => ((i * 7) % 5) - 2);
  const lora = (name: string) => ({
    [`unet.${name}.lora_A.weight`]: { shape: [2, 12], data: data(24) },
    [`unet.${name}.lora_B.weight`]: { shape: [8, 2], data: data(16) },
  });
  const [good, bad] = [join(root, 'good.safetensors'), join(root, 'bad.safetensors')];
  await writeSafetensors(good, lora(layer));
  await writeSafetensors(bad, lora('nowhere.to_k'));
  const flags = ['--model', model, '--prompt', 'a cat', '--steps', '2', '--height', '8', '--width', '8'];
  const pictures: Buffer[] = [];
  for (const extra of [[], ['--lora', `${good}:0`], ['--lora', good]]) {
    const file = join(root, `lora-${pictures.length}.png`);
    const { code, err } = await sample(...flags, ...extra, '--out', file);
    expect(code, err).toBe(0);
    pictures.push(Buffer.from((await readImage(file)).data));
  }
  expect(pictures[1]!.equals(pictures[0]!)).toBe(true);
  expect(pictures[2]!.equals(pictures[0]!)).toBe(false);
  const refused = await sample(...flags, '--lora', bad, '--out', join(root, 'never.png'));
  expect(refused.code).toBe(2);
  expect(refused.err).toMatch(/nowhere.to_k finds no home/);
});

test('one file in the original layout, with the configurations of a folder, makes the same picture', async () => {
  const state = await originalLayout(model);
  expect(Object.keys(state)).toContain('model.diffusion_model.input_blocks.0.0.weight');
  const single = join(root, 'single.safetensors');
  await writeSafetensors(single, state);
  const flags = ['--prompt', 'a cat', '--steps', '2', '--height', '8', '--width', '8'];
  const [a, b] = [join(root, 'folder.png'), join(root, 'file.png')];
  expect((await sample('--model', model, ...flags, '--out', a)).code).toBe(0);
  const { code, err } = await sample('--model', single, '--parts', model, ...flags, '--out', b);
  expect(code, err).toBe(0);
  expect((await readImage(b)).data).toEqual((await readImage(a)).data);
  const without = await sample('--model', single, ...flags, '--out', join(root, 'never.png'));
  // Published models have 32 groups, which a file does not say; this tiny one has 4.
  expect(without.code).toBe(2);
  expect(without.err).toMatch(/groups: 32 groups do not divide the 8 channels/);
});

test('a scheduler_config.json with Python’s -Infinity is read', async () => {
  const folder = join(root, 'other');
  cpSync(model, folder, { recursive: true });
  const scheduler = {
    _class_name: 'DPMSolverMultistepScheduler',
    beta_schedule: 'scaled_linear',
    beta_start: 0.00085,
    beta_end: 0.012,
  };
  const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8')) as object;
  const named = { ...index, scheduler: ['diffusers', scheduler._class_name] };
  writeFileSync(join(folder, 'model_index.json'), JSON.stringify(named));
  const text = JSON.stringify({ ...scheduler, lambda_min_clipped: 'X' }).replace('"X"', '-Infinity');
  writeFileSync(join(folder, 'scheduler', 'scheduler_config.json'), text);
  const { code, err } = await sample(
    '--model',
    folder,
    '--prompt',
    'cat',
    '--steps',
    '2',
    '--height',
    '8',
    '--width',
    '8',
    '--out',
    join(root, 'other.png'),
  );
  expect(code, err).toBe(0);
});

test.each<[string, string[], RegExp]>([
  ['no prompt', ['--model', model], /prompt: this model takes a prompt, got none/],
  [
    'labels',
    ['--model', model, '--prompt', 'a', '--labels', '3'],
    /labels: Stable Diffusion 1, 2, XL does not take it/,
  ],
  ['mask alone', ['--model', model, '--prompt', 'a', '--mask', 'm.png'], /--mask: m.png: no such file/],
  ['odd size', ['--model', model, '--prompt', 'a', '--height', '17'], /height: expected a multiple of 2, got 17/],
  [
    'no step left',
    ['--model', model, '--prompt', 'a', '--image', 'IMAGE', '--strength', '0.01', '--steps', '4', '--solver', 'ddim'],
    /no step is left/,
  ],
  ['missing image', ['--model', model, '--prompt', 'a', '--image', 'nowhere.png'], /nowhere.png: no such file/],
  [
    'solver with learned variance',
    ['--model', model, '--prompt', 'a', '--solver', 'ddpm-learned'],
    /learned the variance/,
  ],
  [
    'a refiner of another family',
    ['--model', fixture('tiny-sdxl'), '--prompt', 'a', '--refiner', model],
    /refiner: .*tiny-sd has other latent images than .*tiny-sdxl/,
  ],
  [
    'a size that no memory holds',
    ['--model', model, '--prompt', 'a', '--height', '100000', '--width', '100000'],
    /size: expected at most 67108864 pixels, got 100000 x 100000/,
  ],
  [
    'a tokenizer for a folder',
    ['--model', model, '--prompt', 'a', '--tokenizer', model],
    /tokenizer: is for a model in one file/,
  ],
  ['replay of nothing', ['--replay', 'IMAGE'], /has no recipe/],
  ['no such variant', ['--model', model, '--prompt', 'a', '--variant', 'fp8'], /no weights of the variant "fp8"/],
])('%s: one clear message, exit code 2, no file', async (_, argv, message) => {
  const file = join(root, 'never.png');
  const { code, err, out } = await sample(
    ...argv.map((arg) => arg.replace('IMAGE', join(root, 'picture.png'))),
    '--out',
    file,
  );
  expect(err).toMatch(message);
  expect(err).not.toMatch(/\n {4}at /); // no stack trace
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(existsSync(file)).toBe(false);
});

test('weights in 16 bits make nearly the same picture, the recipe says so, and other engines refuse', async () => {
  const size = ['--height', '16', '--width', '24', '--seed', '7'];
  const file = join(root, 'half.png');
  const half = ['--weights', 'float16', '--out', file];
  const made = await sample('--model', model, ...words, ...size, '--engine', 'onnxruntime', ...half);
  expect(made.code, made.err).toBe(0);
  // Weights are off by 2^-12 relative; five guided steps turn that into a few of 255 steps at most.
  expect(await worst(file, 'sd-pndm.images')).toBeLessThanOrEqual(3);
  expect(JSON.parse((await readPngText(file)).mezzotint!)).toMatchObject({ weights: 'float16' });

  const again = join(root, 'half-again.png');
  expect((await sample('--replay', file, '--engine', 'onnxruntime', '--out', again)).code).toBe(0);
  expect(readFileSync(again).equals(readFileSync(file))).toBe(true);

  const other = join(root, 'half-cpu.png');
  const refused = await sample('--model', model, ...words, ...size, '--weights', 'float16', '--out', other);
  expect(refused.code).toBe(2);
  expect(refused.err).toMatch(/expected the engine onnxruntime, got cpu/);
  expect(existsSync(other)).toBe(false);
});

test('a model of classes names every flag that it would pass over', async () => {
  const digits = fileURLToPath(new URL('../../../models/digits', import.meta.url));
  const refused = await sample('--model', digits, '--negative', 'a', '--guidance-rescale', '0.5', '--weights', 'int8');
  expect(refused.code).toBe(2);
  expect(refused.err).toMatch(/negative: .* does not take it/);
});

test('where there is no model, no flag is blamed', async () => {
  const nowhere = await sample('--model', join(root, 'nowhere'), '--prompt', 'a');
  expect(nowhere.err).toMatch(/nowhere: no such file or folder/);
  const part = await sample('--model', join(model, 'unet'), '--prompt', 'a');
  expect(part.err).toMatch(/unet: has a config.json of UNet2DConditionModel, which no family can open/);
  expect([nowhere.code, part.code]).toEqual([2, 2]);
});
