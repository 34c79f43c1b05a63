import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { DiT, ditFromOriginal } from '@mezzotint/dit';
import { UViT, uvitFromOriginal } from '@mezzotint/uvit';
import { readTorch } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { adapterOf } from '../src/adapters/index.js';
import { compare } from '../src/check.js';
import { goldenCommand, runGolden } from '../src/command.js';
import { openGoldenFolder } from '../src/golden-folder.js';

const fixtures = fileURLToPath(new URL('../../../packages/unet/test/fixtures/', import.meta.url));
let scratch = '';
let output = '';
let errors = '';

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'golden-'));
  output = '';
  errors = '';
  vi.stubEnv('MEZZOTINT_BACKEND', 'cpu');
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    errors += text;
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true });
  process.exitCode = undefined;
});

/** A copy of a fixture that a test may spoil. */
function copyOf(name: string): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  for (const file of readdirSync(fixtures + name)) copyFileSync(join(fixtures, name, file), join(folder, file));
  return folder;
}

async function run(...argv: string[]) {
  const command = goldenCommand();
  await runCommand(command, (_, context) => runGolden(command.args, context), argv);
  const code = process.exitCode ?? 0;
  return { code, output, errors };
}

describe('pnpm golden', () => {
  test('passes where we have the model and says so where not, which is no failure', async () => {
    const unknown = copyOf('adm-classifier');
    writeFileSync(join(unknown, 'origin.json'), '{ "class": "Oracle" }');
    const { code, output } = await run(join(fixtures, 'adm-classifier'), unknown);
    expect(code).toBe(0);
    expect(output).toMatch(/logits +\[2, 10\] +\d\.\d\de-\d+ +pass/);
    expect(output).toContain('adm-classifier (Oracle): no such model yet');
    expect(output).toContain('1 passed, 0 failed, 1 without a model yet (not counted); tolerance 0.0001, engine cpu');
  });

  test('--json prints one object and nothing else', async () => {
    const { code, output, errors } = await run('--json', join(fixtures, 'adm-super-resolution'));
    expect(code).toBe(0);
    expect(JSON.parse(output)).toMatchObject({
      engine: 'cpu',
      tolerance: 1e-4,
      passed: 1,
      failed: 0,
      unknown: 0,
      folders: [
        {
          folder: 'adm-super-resolution',
          class: 'SuperResModel',
          status: 'passed',
          outputs: [{ name: 'out', passed: true }],
        },
      ],
    });
    expect(errors).toContain('pass');
  });

  test('a wrong output fails, with exit code 1', async () => {
    const folder = copyOf('adm-super-resolution');
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, num_heads: 2 }));
    const { code, output } = await run(folder);
    expect(code).toBe(1);
    expect(output).toMatch(/out .* FAIL/);
  });

  test('origin.json may set a wider bar for an output, but not any', async () => {
    const folder = copyOf('adm-super-resolution');
    const origin = JSON.parse(readFileSync(join(folder, 'origin.json'), 'utf8'));
    const set = (out: unknown) =>
      writeFileSync(join(folder, 'origin.json'), JSON.stringify({ ...origin, tolerance: { out } }));
    set(1e-9);
    expect((await run(folder)).output).toMatch(/out .* FAIL/);
    set(0.5);
    expect((await run(folder)).errors).toMatch(/expected a tolerance in \(0, 0.01\] for out, got 0.5/);
  });

  test('weights that do not fit fail with the strict report', async () => {
    const folder = copyOf('adm-super-resolution');
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, num_classes: 7 }));
    const { code, output } = await run(folder);
    expect(code).toBe(1);
    expect(output).toMatch(/FAIL: Weights do not fit SuperResolutionUNet:\s+missing 1: label_emb.weight/);
  });

  test.each<[string, (folder: string) => void, RegExp]>([
    ['not there', (folder) => rmSync(folder, { recursive: true }), /origin\.json: no such file or folder\n$/],
    ['no JSON', (folder) => writeFileSync(join(folder, 'config.json'), '{'), /config\.json: is not JSON/],
    ['no class', (folder) => writeFileSync(join(folder, 'origin.json'), '{}'), /expected the name of a class/],
    ['no tensors', (folder) => writeFileSync(join(folder, 'io.safetensors'), 'x'), /io\.safetensors: /],
    ['no weights', (folder) => rmSync(join(folder, 'model.safetensors')), /model\.safetensors: /],
  ])('a bad folder (%s) is one clear line and exit code 2', async (_, spoil, message) => {
    const folder = copyOf('adm-classifier');
    spoil(folder);
    const { code, errors } = await run(folder);
    expect(code).toBe(2);
    expect(errors).toMatch(message);
    expect(errors.trim().split('\n')).toHaveLength(1);
  });

  test('files among folders (a shell’s *) are left out and named; files only are an error', async () => {
    const file = join(fixtures, 'adm-classifier', 'config.json');
    const { code, output } = await run(join(fixtures, 'adm-classifier'), file);
    expect(code).toBe(0);
    expect(output).toContain(`${file}: a file, not a folder; left out`);
    expect((await run(file)).code).toBe(2);
  });

  test('all bad folders are named at once', async () => {
    const { code, errors } = await run(join(scratch, 'a'), join(scratch, 'b'));
    expect(code).toBe(2);
    expect(errors.match(/[ab].origin\.json: no such file or folder/g)).toHaveLength(2);
  });

  test('no folder at all is a usage error', async () => {
    expect((await run()).code).toBe(2);
  });
});

describe('DiT', () => {
  const dit = fileURLToPath(new URL('../../../packages/dit/test/fixtures/', import.meta.url));

  test('the original, and diffusers’ of odd sizes, whose blocks have embedders of their own', async () => {
    const names = ['dit-original', 'dit-diffusers-patch1', 'dit-diffusers-patch4', 'dit-diffusers-stretched'];
    const { code, output } = await run(...names.map((name) => join(dit, name)));
    expect(output).toContain('4 passed, 0 failed;');
    expect(code).toBe(0);
  });

  test('a checkpoint as training saves it: the averaged weights are taken', async () => {
    await useBackend();
    const folder = await openGoldenFolder(join(dit, 'dit-original'));
    const source = await readTorch(fileURLToPath(new URL('./fixtures/dit-training.pt', import.meta.url)));
    const model = await new DiT(ditFromOriginal(folder.config)).load(source);
    source.close();
    const result = adapterOf('DiT')!.run(model, {
      x: tf.tensor(folder.inputs.x!.data, [...folder.inputs.x!.shape]),
      t: tf.tensor(folder.inputs.t!.data, [2], 'int32'),
      y: tf.tensor(folder.inputs.y!.data, [2], 'int32'),
    });
    const { shape } = result.out!;
    expect(compare('out', shape, await result.out!.data(), folder.outputs.out!)).toMatchObject({ passed: true });
    model.dispose();
  });
});

describe('U-ViT', () => {
  const fixtures = fileURLToPath(new URL('../../../packages/uvit/test/fixtures/', import.meta.url));

  test('labels, no labels, text', async () => {
    const { code, output } = await run(...['uvit', 'uvit-uncond', 'uvit-t2i'].map((name) => join(fixtures, name)));
    expect(output).toContain('3 passed, 0 failed;');
    expect(code).toBe(0);
  });

  test('the original’s .pth is the same state dict', async () => {
    await useBackend();
    const folder = await openGoldenFolder(join(fixtures, 'uvit-uncond'));
    const source = await readTorch(fileURLToPath(new URL('./fixtures/uvit-uncond.pth', import.meta.url)));
    const model = await new UViT(uvitFromOriginal(folder.config)).load(source);
    source.close();
    const result = adapterOf('UViT', folder.config)!.run(model, {
      x: tf.tensor(folder.inputs.x!.data, [...folder.inputs.x!.shape]),
      timesteps: tf.tensor(folder.inputs.timesteps!.data, [2]),
    });
    const { shape } = result.out!;
    expect(compare('out', shape, await result.out!.data(), folder.outputs.out!)).toMatchObject({ passed: true });
    model.dispose();
  });
});

describe('comparing', () => {
  const expected = { shape: [2], data: Float32Array.of(3, 4) };

  test('||a - b|| / ||b||, by hand', () => {
    expect(compare('y', [2], [3, 4.5], expected)).toMatchObject({ relativeError: 0.1, passed: false });
    expect(compare('y', [2], [3, 4 + 4e-4], expected)).toMatchObject({ passed: true });
  });

  test('nothing that cannot be compared passes', () => {
    expect(compare('y', undefined, undefined, expected)).toMatchObject({
      passed: false,
      problem: 'our model has no such output',
    });
    expect(compare('y', [1, 2], [3, 4], expected)).toMatchObject({ passed: false, problem: 'expected [2], got [1,2]' });
    expect(compare('y', [2], [Number.NaN, 4], expected)).toMatchObject({ passed: false });
    expect(compare('y', [2], [1, 0], { shape: [2], data: new Float32Array(2) })).toMatchObject({
      passed: false,
      relativeError: 1,
    });
  });
});
