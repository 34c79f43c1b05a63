import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import type { HostTensor } from '@mezzotint/core';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { beforeAll, describe, expect, test } from 'vitest';
import { type OpenOptions, openPipeline } from '../src/node/index.js';
import { temporaryFile, variant } from './support/variants.js';

const fixture = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const sd = fixture('../../../apps/sample/test/fixtures/tiny-sd');
const sd3 = fixture('./fixtures/tiny-sd3');
const unetFile = 'diffusion_pytorch_model.safetensors';

beforeAll(() => useBackend({ engine: 'onnxruntime' }), 60_000); // its library takes a while to load on a busy machine

/** What the model's makers' one picture is, and what opening said. */
async function made(path: string, options: OpenOptions = {}) {
  const pipeline = await openPipeline(path, options);
  try {
    const { images } = await pipeline.generate({ prompt: 'a red cat', steps: 1, height: 16, width: 16 });
    return { pixels: [...images[0]!.data], notes: pipeline.notes.join('\n') };
  } finally {
    pipeline.dispose();
  }
}

describe('tensors that no part needs, in one file', () => {
  const junk: Record<string, HostTensor> = {
    db_global_step: { shape: [], data: Float32Array.of(1) },
    'model_sampling.sigmas': { shape: [3], data: Float32Array.of(1, 2, 3) },
    'embedding_manager.x': { shape: [2], data: Float32Array.of(1, 2) },
  };

  /** A UNet with more tensors, alone in a file; the folder has the other parts. */
  async function single(more: Record<string, HostTensor>): Promise<string> {
    const source = readSafetensors(join(sd, 'unet', unetFile));
    const state: Record<string, HostTensor> = { ...more };
    for (const name of source.tensors.keys()) state[name] = source.read(name);
    source.close();
    const path = temporaryFile('one.safetensors');
    await writeSafetensors(path, state);
    return path;
  }

  test('are named and left out: the same picture; --strict refuses them by name', async () => {
    const plain = await made(await single({}), { parts: sd });
    const file = await single(junk);
    const { pixels, notes } = await made(file, { parts: sd });
    expect(pixels).toEqual(plain.pixels);
    for (const name of Object.keys(junk)) expect(notes).toContain(name);
    expect(plain.notes).not.toMatch(/does not need|left out/);
    await expect(made(file, { parts: sd, strict: true })).rejects.toThrow(/db_global_step/);
    expect((await made(await single({}), { parts: sd, strict: true })).pixels).toEqual(plain.pixels);
  });

  test('a tensor that is missing is an error beside them, not a note', async () => {
    const source = readSafetensors(join(sd, 'unet', unetFile));
    const state: Record<string, HostTensor> = { ...junk };
    for (const name of source.tensors.keys()) if (name !== 'conv_out.bias') state[name] = source.read(name);
    source.close();
    const path = temporaryFile('short.safetensors');
    await writeSafetensors(path, state);
    await expect(made(path, { parts: sd })).rejects.toThrow(/missing 1: conv_out.bias/);
  });
});

describe('a variant that only some parts have', () => {
  /** A copy in which the weights of some parts have `fp16` in their names. */
  function withVariant(base: string, parts: Readonly<Record<string, string>>): string {
    const folder = variant(base);
    for (const [part, file] of Object.entries(parts)) {
      renameSync(join(folder, part, file), join(folder, part, file.replace('.safetensors', '.fp16.safetensors')));
    }
    return folder;
  }

  test.each([
    ['Stable Diffusion', sd, { unet: unetFile }, /vae has no weights of the variant fp16/],
    [
      'Stable Diffusion 3',
      sd3,
      { transformer: unetFile, vae: unetFile },
      /text_encoder has no weights of the variant fp16/,
    ],
  ] as const)('%s: the plain file is taken where there is no other, and said', async (_, base, parts, said) => {
    const plain = await made(base);
    const { pixels, notes } = await made(withVariant(base, parts), { variant: 'fp16' });
    expect(pixels).toEqual(plain.pixels);
    expect(notes).toMatch(said);
    for (const part of Object.keys(parts)) expect(notes).not.toContain(`${part} has no weights`);
  });

  test('a variant that no part has was misspelled', async () => {
    await expect(made(sd, { variant: 'fp61' })).rejects.toThrow(/no weights of the variant "fp61"/);
  });

  test('and the other way round: what only the variant has is not taken unasked, with a list of what is there', async () => {
    const folder = withVariant(sd, { unet: unetFile });
    await expect(made(folder)).rejects.toThrow(/no weights without a variant; it has: .*fp16/);
  });
});
