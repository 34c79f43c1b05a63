import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as weights from '@mezzotint/weights';
import * as node from '@mezzotint/weights/node';
import { expect, test } from 'vitest';
import { manifest } from './manifests.js';
import { numbered, shapesOf } from './synthetic.js';

test("README's example", async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  const folder = mkdtempSync(join(tmpdir(), 'mezzotint-readme-'));
  const printed: string[] = [];
  // A checkpoint of the published names with one number a tensor, in the place of the user's file.
  const diffusers = numbered(manifest('sd15-unet-diffusers'));
  const original = weights.translate(diffusers, weights.unetKeyMap(diffusers.tensors.keys(), 'right'), 'right');
  const shapes = Object.fromEntries(
    Object.keys(shapesOf(original)).map((name) => [`model.diffusion_model.${name}`, [1]]),
  );
  const scope = {
    ...weights,
    ...node,
    readWeights: async () => numbered(shapes),
    readSafetensors: (path: string) => node.readSafetensors(join(folder, path)),
    writeSafetensors: (path: string, state: Parameters<typeof node.writeSafetensors>[1]) =>
      node.writeSafetensors(join(folder, path), state),
    console: { log: (text: string) => printed.push(text) },
  };
  const body = example.replace(/^import .*$/gm, '').replaceAll('!.', '.');
  const AsyncFunction = (async () => {}).constructor as new (
    ...args: string[]
  ) => (...args: unknown[]) => Promise<unknown>;
  const run = new AsyncFunction(...Object.keys(scope), `${body}\nreturn bias;`);
  try {
    expect(await run(...Object.values(scope))).toEqual({ shape: [2], data: Float32Array.of(1, 2) });
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(printed.join('\n')).toContain('input_blocks.0.0.weight -> conv_in.weight');
});

test('the main entry imports nothing of Node, so that browsers can use it', () => {
  const seen = new Set<string>();
  const visit = (path: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const [, target] of readFileSync(path, 'utf8').matchAll(/from '([^']+)'/g)) {
      if (target!.startsWith('.')) visit(join(dirname(path), target!.replace(/\.js$/, '.ts')));
      else expect(target, path).toBe('@mezzotint/core');
    }
  };
  visit(fileURLToPath(new URL('../src/index.ts', import.meta.url)));
  expect(seen.size).toBeGreaterThan(30);
});
