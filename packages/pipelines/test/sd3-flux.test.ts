import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useBackend } from '@mezzotint/backend';
import { renamed, type StateDict } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { relativeError } from '@mezzotint/testing';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OpenOptions, openPipeline, type Pipeline, type Request } from '../src/node/index.js';

interface Case {
  readonly seed: number;
  readonly prompt: string | readonly string[];
  readonly negative_prompt?: string;
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
  readonly true_cfg_scale?: number;
  readonly max_sequence_length?: number;
  readonly strength?: number;
}

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const { cases } = JSON.parse(readFileSync(fixture('sd3-flux.json'), 'utf8')) as { cases: Record<string, Case> };
const golden: StateDict = {};
const scratch = mkdtempSync(join(tmpdir(), 'sd3-flux-'));
const open: Pipeline[] = [];
const opened = async (path: string, options?: OpenOptions) => {
  const pipeline = await openPipeline(path, options);
  open.push(pipeline);
  return pipeline;
};

// float32 on both sides, the promise is 1e-3 of the latents; measured below 2e-5.
const tolerance = 1e-4;

beforeAll(async () => {
  await useBackend();
  const file = readSafetensors(fixture('sd3-flux.safetensors'));
  for (const name of file.tensors.keys()) (golden as Record<string, unknown>)[name] = file.read(name);
  file.close();
});
afterAll(() => {
  for (const pipeline of open) pipeline.dispose();
  rmSync(scratch, { recursive: true });
});

/** A golden picture `[1, C, H, W]` in [0, 1] as a PNG would hold it. */
function bitmap(name: string): Bitmap {
  const { data, shape } = golden[name]!;
  const [, channels, height, width] = shape as [number, 1 | 3, number, number];
  const nhwc = tf.tidy(() => tf.transpose(tf.tensor(data, [...shape]), [0, 2, 3, 1]).dataSync());
  return { data: Uint8Array.from(nhwc, (v) => Math.round(255 * v)), height, width, channels };
}

/** Runs a golden's call and compares the latents of each step that theirs has, and the pictures to one grey level. */
async function check(name: string, pipeline: Pipeline, more: Request = {}): Promise<void> {
  const call = cases[name]!;
  const [count, height, width] = golden[`${name}.images`]!.shape as [number, number, number, number];
  const isFlux = pipeline.family === 'FLUX.1';
  const request: Request = {
    prompt: call.prompt as string,
    ...(call.negative_prompt !== undefined && { negative: call.negative_prompt }),
    ...(call.strength !== undefined && { image: bitmap('picture'), strength: call.strength }),
    ...(call.true_cfg_scale !== undefined && { trueGuidance: call.true_cfg_scale }),
    // Without it, what the pipeline of diffusers takes: 256 for Stable Diffusion 3, 512 for FLUX.
    ...{ textLength: call.max_sequence_length ?? (isFlux ? 512 : 256) },
    ...(pipeline.takes.includes('guidance') && { guidance: call.guidance_scale }),
    ...{ height, width, seed: call.seed, steps: call.num_inference_steps, batch: count },
    // One generator draws for all pictures of a batch there; here each picture has its own.
    ...more,
  };
  const reached: Float32Array[] = [];
  let images: readonly Bitmap[] = [];
  for await (const step of pipeline.steps(request)) {
    reached.push(step.x.dataSync<'float32'>().slice());
    images = step.images ?? images;
  }
  const { data, shape } = golden[`${name}.latents`]!;
  const expected = tf.tidy(() =>
    tf.unstack(tf.transpose(tf.tensor(data, [...shape]), [0, 1, 3, 4, 2])).map((t) => t.dataSync<'float32'>().slice()),
  );
  const compared = reached.slice(-expected.length);
  expect(compared.length).toBe(expected.length);
  // With a mask, what the solver has outside of it is of no effect, and not theirs.
  const inside = more.mask === undefined ? null : latentMask(height, width);
  compared.forEach((x, i) => {
    expect(relativeError(within(x, inside), within(expected[i]!, inside)), `${name}, step ${i}`).toBeLessThan(
      tolerance,
    );
  });
  // Their inpainting pipeline of SD3 forgets the shift of the autoencoder when it decodes; we do not.
  if (name.startsWith('sd3-inpaint')) return;
  const shown = golden[`${name}.images`]!.data;
  const size = shown.length / count;
  images.forEach(({ data: bytes }, n) => {
    bytes.forEach((value, i) => {
      expect(Math.abs(value / 255 - shown[n * size + i]!)).toBeLessThan(1 / 255 + 1e-3);
    });
  });
}

/** 1 where a latent pixel is made anew: the first of its pixels. */
function latentMask(height: number, width: number): Float32Array {
  const { data } = golden.mask!;
  return Float32Array.from({ length: (height * width) / 4 }, (_, p) => {
    const [row, column] = [Math.floor(p / (width / 2)), p % (width / 2)];
    return data[2 * row * width + 2 * column]!;
  });
}

function within(x: Float32Array, inside: Float32Array | null): Float32Array {
  if (inside === null) return x;
  const channels = x.length / inside.length;
  return x.map((value, i) => value * inside[Math.floor(i / channels)]!);
}

describe('Stable Diffusion 3.5: pictures of diffusers’ pipelines from a folder', () => {
  let pipeline: Pipeline;
  beforeAll(async () => {
    pipeline = await opened(fixture('tiny-sd3'));
  });

  test('text to image', () => check('sd3', pipeline));
  test('skip-layer guidance', () =>
    check('sd3-skip-layers', pipeline, { skipLayers: [0], skipLayerInterval: [0.01, 0.5] }));
  test('image to image', () => check('sd3-img2img', pipeline));
  test('inpainting, in part and whole', async () => {
    await check('sd3-inpaint', pipeline, { mask: bitmap('mask') });
    await check('sd3-inpaint-full', pipeline, { mask: bitmap('mask') });
  });

  test('without T5', async () => {
    const folder = join(scratch, 'no-t5');
    cpSync(fixture('tiny-sd3'), folder, { recursive: true });
    const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8'));
    writeFileSync(join(folder, 'model_index.json'), JSON.stringify({ ...index, text_encoder_3: [null, null] }));
    const without = await opened(folder);
    expect(without.description).toMatch(/no T5-XXL/);
    await check('sd3-no-t5', without);
  });
});

describe('FLUX.1: pictures of diffusers’ pipelines from a folder', () => {
  let dev: Pipeline;
  let schnell: Pipeline;
  beforeAll(async () => {
    dev = await opened(fixture('tiny-flux-dev'));
    schnell = await opened(await schnellFolder());
  });

  test('dev', () => check('flux-dev', dev));
  test('schnell', () => check('flux-schnell', schnell));
  test('true guidance beside the one that the network is told', () => check('flux-true-cfg', dev));
  test('image to image', () => check('flux-img2img', dev));
  test('inpainting', () => check('flux-inpaint', dev, { mask: bitmap('mask') }));

  test('a guidance scale is refused where the network has no place for it', async () => {
    await expect(schnell.check({ prompt: 'cat', guidance: 3 })).rejects.toThrow(/guidance: FLUX.1 does not take it/);
    await expect(dev.check({ prompt: 'cat', trueGuidance: 3 })).rejects.toThrow(/needs a negative prompt/);
    await expect(dev.check({ prompt: 'cat', negative: 'dog' })).rejects.toThrow(/unless trueGuidance is above 1/);
    await expect(dev.check({ prompt: 'cat', height: 10, width: 16 })).rejects.toThrow(
      /height: expected a multiple of 4/,
    );
  });
});

/** schnell's folder, made of dev's: the same weights without the embedding of guidance. */
async function schnellFolder(): Promise<string> {
  const folder = join(scratch, 'schnell');
  cpSync(fixture('tiny-flux-dev'), folder, { recursive: true });
  const path = join(folder, 'transformer', 'diffusion_pytorch_model.safetensors');
  const file = readSafetensors(fixture('tiny-flux-dev/transformer/diffusion_pytorch_model.safetensors'));
  const without = renamed(file, (name) => (name.includes('guidance_embedder') ? undefined : name));
  await writeSafetensors(path, without, { dtype: 'F16', overwrite: true });
  file.close();
  const edit = (name: string, change: object) => {
    const json = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    writeFileSync(join(folder, name), JSON.stringify({ ...json, ...change }));
  };
  edit('transformer/config.json', { guidance_embeds: false });
  edit('scheduler/scheduler_config.json', { shift: 1, use_dynamic_shifting: false });
  return folder;
}

describe('files of other tools make the pictures of their own weights', () => {
  test.each([
    [
      'flux-gguf-q4_0',
      'tiny-schnell-Q4_0.gguf',
      /FLUX.1 schnell .*GGUF in ComfyUI-GGUF's dialect, .*Q4_0.*holds transformer/,
    ],
    ['flux-gguf-mixed', 'tiny-schnell-mixed.gguf', /GGUF in stable-diffusion.cpp's dialect, .*Q8_0/],
    ['flux-fp8-scaled', 'tiny-schnell-fp8-scaled.safetensors', /\d+ scaled float8/],
  ])('%s', async (name, file, description) => {
    const parts = await schnellFolder();
    const pipeline = await opened(fixture(`flux-files/${file}`), { parts });
    expect(pipeline.description).toMatch(description);
    await check(name, pipeline);
  });

  test('blocks of 4 bits and 16-bit floats are computed with as the file stores them', async () => {
    const pipeline = await opened(fixture('flux-files/tiny-schnell-Q4_0.gguf'), {
      parts: await schnellFolder(),
      weights: 'stored',
    });
    await check('flux-gguf-q4_0', pipeline);
  });

  test('a file without its encoders says what is missing, and takes loose files', async () => {
    const file = fixture('flux-files/tiny-schnell-Q4_0.gguf');
    await expect(openPipeline(file)).rejects.toThrow(
      /holds transformer; missing: vae \(the autoencoder\), text_encoder \(CLIP-L\), text_encoder_2 \(T5-XXL\); give a folder/,
    );
    await expect(openPipeline(file, { parts: scratch })).rejects.toThrow(/hold files such as ae.safetensors, clip_l/);
  });

  test('a LoRA says how much of it was applied; one that changes nothing changes nothing', async () => {
    const [down, up] = ['lora_down', 'lora_up'].map((part) => `lora_unet_single_blocks_0_linear1.${part}.weight`);
    const path = join(scratch, 'style.safetensors');
    const write = (value: number) =>
      writeSafetensors(
        path,
        {
          [down!]: { shape: [2, 32], data: new Float32Array(64).fill(0.1) },
          [up!]: { shape: [7 * 32, 2], data: new Float32Array(14 * 32).fill(value) },
        },
        { overwrite: true },
      );
    const file = fixture('flux-files/tiny-schnell-Q4_0.gguf');
    const parts = await schnellFolder();
    await write(0);
    const same = await opened(file, { parts, lora: [{ path }] });
    expect(same.notes).toContain(`${path}: applied 2 of 2 tensors`);
    await check('flux-gguf-q4_0', same);
    await write(0.1);
    const other = await opened(file, { parts, lora: [{ path }] });
    await expect(check('flux-gguf-q4_0', other)).rejects.toThrow(/to be less than/);
  });

  test('Kontext and other pipelines are refused by name', async () => {
    const kontext = join(scratch, 'flux1-kontext-dev-Q4_0.gguf');
    cpSync(fixture('flux-files/tiny-schnell-Q4_0.gguf'), kontext);
    await expect(openPipeline(kontext)).rejects.toThrow(/FLUX.1 Kontext by its name/);
    const folder = join(scratch, 'fill');
    cpSync(fixture('tiny-flux-dev'), folder, { recursive: true });
    const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8'));
    writeFileSync(join(folder, 'model_index.json'), JSON.stringify({ ...index, _class_name: 'FluxFillPipeline' }));
    await expect(openPipeline(folder)).rejects.toThrow(/a folder of FluxFillPipeline, which is not built/);
  });
});
