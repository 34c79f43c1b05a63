import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'tsup';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import config from '../tsup.config.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../', import.meta.url));
const cache = fileURLToPath(new URL('../node_modules/.cache/', import.meta.url));
let folder: string;

// As published, but with @mezzotint/core inside, which the tests do not build.
beforeAll(async () => {
  await mkdir(cache, { recursive: true });
  folder = await mkdtemp(join(cache, 'built-'));
  const before = process.cwd();
  process.chdir(root); // tsup reads entries and package.json from the folder that it is run in.
  await build({
    ...config,
    outDir: folder,
    dts: false,
    config: false,
    silent: true,
    noExternal: ['@mezzotint/core'],
    esbuildOptions: (options) => {
      options.absWorkingDir = root;
      options.conditions = ['@mezzotint/source'];
    },
  }).finally(() => process.chdir(before));
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const program = `
  import * as tf from '@tensorflow/tfjs-core';
  import { useBackend } from './index.js';
  const listeners = process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection');
  const { name } = await useBackend();
  const more = process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection') - listeners;
  const f = (x, w) => tf.sum(tf.conv2d(x, w, 1, 'same'));
  const [dx, dw] = tf.grads(f)([tf.ones([1, 3, 3, 1]), tf.ones([3, 3, 1, 1])]);
  console.log(JSON.stringify({ name, more, dx: Array.from(dx.dataSync()), dw: Array.from(dw.dataSync()) }));
`;

describe('the built package in plain Node', () => {
  // A pixel of a 3x3 image is seen by as many windows as there are pixels around it; a tap sees as many pixels.
  const seen = [4, 6, 4, 6, 9, 6, 4, 6, 4];

  test.each(['cpu', 'wasm'])('%s computes, differentiates and prints nothing', async (name) => {
    await writeFile(join(folder, 'program.js'), program);
    const env = { ...process.env, MEZZOTINT_BACKEND: name, NODE_OPTIONS: '' };
    const { stdout, stderr } = await run(process.execPath, [join(folder, 'program.js')], { env });
    expect(JSON.parse(stdout)).toEqual({ name, more: 0, dx: seen, dw: seen });
    expect(stderr).toBe('');
  });

  test('the gradients come without the rest of TensorFlow.js', async () => {
    const files = (await readdir(folder)).filter((file) => file.endsWith('.js') && file !== 'program.js');
    for (const file of files) {
      expect(await readFile(join(folder, file), 'utf8')).not.toMatch(/(from|import\(?)\s*['"]@tensorflow\/tfjs['"]/);
    }
  });

  test('the entry for browsers has no part of Node', async () => {
    const files = new Set(['wasm.js']);
    const outside = new Set<string>();
    for (const file of files) {
      const text = await readFile(join(folder, file), 'utf8');
      expect(text).not.toMatch(/\bprocess\b|\bBuffer\b|\brequire\b/);
      for (const [, from, lazy] of text.matchAll(
        /(?:from\s*|^import\s*)["']([^"']+)["']|import\(\s*["']([^"']+)["']/gm,
      )) {
        const name = from ?? lazy!;
        if (name.startsWith('./')) files.add(name.slice(2));
        else outside.add(name);
      }
    }
    expect([...outside].sort()).toEqual(['@tensorflow/tfjs-backend-wasm', '@tensorflow/tfjs-core']);
  });

  test('where npm could not install the optional engines, wasm runs and the reasons are told', async () => {
    const elsewhere = await realpath(await mkdtemp(join(tmpdir(), 'mezzotint-backend-')));
    try {
      const scope = join(elsewhere, 'node_modules', '@tensorflow');
      await mkdir(join(scope, 'tfjs-node-gpu', 'lib'), { recursive: true });
      await writeFile(join(scope, 'tfjs-node-gpu', 'package.json'), '{ "name": "@tensorflow/tfjs-node-gpu" }');
      for (const name of ['tfjs-core', 'tfjs-backend-cpu', 'tfjs-backend-wasm']) {
        const installed = fileURLToPath(new URL(`../node_modules/@tensorflow/${name}`, import.meta.url));
        await symlink(await realpath(installed), join(scope, name), 'junction');
      }
      await cp(folder, elsewhere, { recursive: true });
      const tell = "import { useBackend } from './index.js'; console.log(JSON.stringify(await useBackend()));";
      await writeFile(join(elsewhere, 'tell.js'), tell);
      const env = { ...process.env, MEZZOTINT_BACKEND: '', NODE_OPTIONS: '', NODE_PATH: '' };
      const { stdout, stderr } = await run(process.execPath, [join(elsewhere, 'tell.js')], { env, cwd: elsewhere });
      const noAddon = expect.stringContaining('tfjs-node-gpu is installed without its native addon');
      expect(JSON.parse(stdout)).toMatchObject({
        name: 'wasm',
        trains: true,
        why: [
          { engine: 'tensorflow on a GPU', reason: noAddon },
          { engine: 'onnxruntime', reason: '@mezzotint/backend-onnxruntime is not installed' },
          { engine: 'tensorflow', reason: noAddon },
        ],
      });
      expect(stderr).toBe('');
    } finally {
      await rm(elsewhere, { recursive: true, force: true });
    }
  });
});
