import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@mezzotint/backend';
import type { HostTensor } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data/pixels';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkRequest, type ModelFiles, openClipTokenizer } from '../src/index.js';
import { type OpenPipelineOptions, openPipeline, type Request } from '../src/node/index.js';
import { fixture, sampleFixture } from './support/goldens.js';
import { temporaryFile, variant } from './support/variants.js';

beforeAll(() => useBackend({ engine: 'cpu' }));

const small = { prompt: 'a red cat', height: 8, width: 8, steps: 2 } as const;

/** Bytes of the one picture, and the notes. */
async function picture(path: string, request: Request = {}, options: OpenPipelineOptions = {}) {
  const pipeline = await openPipeline(path, options);
  try {
    const notes = [...pipeline.notes];
    const { images } = await pipeline.generate({ ...small, ...request }, { onNote: (line) => notes.push(line) });
    return { data: images[0]!.data, notes };
  } finally {
    pipeline.dispose();
  }
}

const rgb = (of: (i: number) => number): Bitmap => ({
  ...{ height: 8, width: 8, channels: 3 },
  data: Uint8Array.from({ length: 192 }, (_, i) => of(i)),
});
const image = rgb((i) => (i * 37) % 256);

test('which token fills up: special_tokens_map.json over an old tokenizer_config.json, as in transformers', async () => {
  const padOf = async (config: object, map: object) => {
    const vocab = { '!': 0, 'a</w>': 1, '<|startoftext|>': 2, '<|endoftext|>': 3 };
    const json: Record<string, object> = {
      't/vocab.json': vocab,
      't/tokenizer_config.json': { model_max_length: 77, ...config },
      't/special_tokens_map.json': map,
    };
    const files = {
      ...{ name: 'folder', kind: 'folder', has: (path: string) => path in json || path === 't/merges.txt' },
      ...{ json: async (path: string) => json[path], text: async () => '#version: 0.2\n' },
    };
    return (await openClipTokenizer(files as unknown as ModelFiles, 't')).pad;
  };
  // Stable Diffusion 2.1 as it was published.
  expect(await padOf({ pad_token: '<|endoftext|>' }, { pad_token: '!' })).toBe(0);
  const decoder = { 3: { content: '<|endoftext|>', special: true } };
  expect(await padOf({ pad_token: '<|endoftext|>', added_tokens_decoder: decoder }, { pad_token: '!' })).toBe(3);
  expect(await padOf({}, { pad_token: { content: '!' } })).toBe(0);
});

test('no label at all, and a solver that goes from picture to noise, are refused', () => {
  expect(checkRequest({ labels: [3] }, 'digits', ['labels'])).toEqual({ labels: [3] });
  expect(() => checkRequest({ labels: [] }, 'digits', ['labels'])).toThrow(/labels/);
  expect(checkRequest({ solver: 'ddim' }, 'digits', ['labels'])).toEqual({ solver: 'ddim' });
  for (const solver of ['ddim-inverse', 'edict-inverse']) {
    expect(() => checkRequest({ solver }, 'digits', ['labels'])).toThrow(/solver/);
  }
});

describe('masks', () => {
  test('grey of colours is luminance: green 150 is black below, green 255 white', async () => {
    const grey = (value: number): Bitmap => ({
      height: 8,
      width: 8,
      channels: 1,
      data: new Uint8Array(64).fill(value),
    });
    const green = rgb((i) => (i % 3 === 1 ? 255 : 0)); // luminance 150 of 255, the mean 85
    const of = async (mask: Bitmap) => (await picture(sampleFixture('tiny-sd'), { image, mask, strength: 0.9 })).data;
    expect(await of(green)).toEqual(await of(grey(255)));
    expect(await of(green)).not.toEqual(await of(grey(0)));
  });

  test('the refiner keeps mask and start: a black mask protects everything', async () => {
    const mask: Bitmap = { height: 8, width: 8, channels: 1, data: new Uint8Array(64) };
    const request = { image, mask, steps: 4 };
    const alone = await picture(sampleFixture('tiny-sdxl'), request);
    const refined = await picture(
      sampleFixture('tiny-sdxl'),
      { ...request, denoisingEnd: 0.5 },
      { refiner: sampleFixture('tiny-sdxl-refiner') },
    );
    expect(refined.data).toEqual(alone.data);
  });

  test('the refiner keeps the outside behind a base that sees the mask, at full strength too', async () => {
    const inpainting = variant(sampleFixture('tiny-sdxl'));
    const unet = join(inpainting, 'unet');
    const config = join(unet, 'config.json');
    const json = JSON.parse(readFileSync(config, 'utf8')) as { in_channels: number };
    const channels = json.in_channels;
    writeFileSync(config, JSON.stringify({ ...json, in_channels: 2 * channels + 1 }));
    await changeTensors(join(unet, 'diffusion_pytorch_model.safetensors'), (state) => {
      const { shape, data } = state['conv_in.weight']!;
      const wide = [shape[0]!, 2 * channels + 1, 3, 3];
      const more = Float32Array.from({ length: wide.reduce((a, b) => a * b) }, (_, i) => data[i % data.length]!);
      return { ...state, 'conv_in.weight': { shape: wide, data: more } };
    });
    const of = (mask: number, prompt: string) =>
      picture(
        inpainting,
        {
          ...{ image, prompt, steps: 4, denoisingEnd: 0.5, strength: 1 },
          mask: { height: 8, width: 8, channels: 1, data: new Uint8Array(64).fill(mask) },
        },
        { refiner: sampleFixture('tiny-sdxl-refiner') },
      );
    // Where all is kept, the prompt changes nothing.
    expect((await of(0, 'a red cat')).data).toEqual((await of(0, 'the dog')).data);
    expect((await of(255, 'a red cat')).data).not.toEqual((await of(255, 'the dog')).data);
  });

  test('pasteBack: outside of the mask the pixels are the original’s', async () => {
    const mask: Bitmap = {
      ...{ height: 8, width: 8, channels: 1 },
      data: Uint8Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 255 : 0)),
    };
    const { data } = await picture(sampleFixture('tiny-sd'), { image, mask, pasteBack: true });
    const outside = Array.from({ length: 192 }, (_, i) => i).filter((i) => Math.floor(i / 3) % 8 >= 4);
    expect(outside.map((i) => data[i])).toEqual(outside.map((i) => image.data[i]));
    expect([...data]).not.toEqual([...image.data]);
  });
});

/** Writes a file's tensors anew. */
async function changeTensors(
  file: string,
  change: (state: Record<string, HostTensor>) => Record<string, HostTensor>,
): Promise<void> {
  const source = readSafetensors(file);
  const state = Object.fromEntries([...source.tensors.keys()].map((name) => [name, source.read(name)]));
  source.close();
  await writeSafetensors(file, change(state), { overwrite: true });
}

/** A copy of a folder with all numbers of a tensor replaced. */
async function withNumber(part: string, tensor: string, number: number): Promise<string> {
  const folder = variant(sampleFixture('tiny-sd'));
  await changeTensors(join(folder, part, 'diffusion_pytorch_model.safetensors'), (state) => {
    state[tensor]!.data.fill(number);
    return state;
  });
  return folder;
}

test('numbers that are not finite are an error that names part and step, never a picture', async () => {
  const broken = await withNumber('unet', 'conv_out.bias', Number.NaN);
  await expect(picture(broken)).rejects.toThrowError(/conv_out.bias: 4 of 4 numbers/);
  // Weights that are finite, and whose sums are not.
  const unet = await withNumber('unet', 'conv_out.weight', 3e38);
  await expect(picture(unet)).rejects.toThrowError(/unet, step 1 of 3: gives numbers that are not finite/);
  const vae = await withNumber('vae', 'decoder.conv_out.weight', 3e38);
  await expect(picture(vae)).rejects.toThrowError(/vae: gives numbers that are not finite/);
});

describe('what diffusers passes over is named and passed over', () => {
  const plain = () => picture(sampleFixture('tiny-sd'));

  test('keys of a configuration that its class does not have', async () => {
    const folder = variant(
      sampleFixture('tiny-sd'),
      {},
      {
        'unet/config.json': { decay: 0.9999, optimization_step: 37000 },
        'vae/config.json': { extra_thing: 1 },
      },
    );
    const { data, notes } = await picture(folder);
    expect(data).toEqual((await plain()).data);
    expect(notes.join('\n')).toMatch(/vae\/config.json: extra_thing[\s\S]*unet\/config.json: decay/);
    await expect(picture(folder, {}, { strict: true })).rejects.toThrowError(/extra_thing: not an argument/);
  });

  test('a part that would be left out is an error, unless it may be', async () => {
    const folder = variant(
      sampleFixture('tiny-sd'),
      {},
      {
        'model_index.json': { controlnet: ['diffusers', 'ControlNetModel'] },
      },
    );
    await expect(picture(folder)).rejects.toThrowError(/controlnet \(ControlNetModel\) is not built/);
    expect((await picture(folder, {}, { ignoreParts: true })).data).toEqual((await plain()).data);
  });

  test('SDXL without force_zeros_for_empty_prompt takes the default of its class, true', async () => {
    const folder = variant(sampleFixture('tiny-sdxl'));
    const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8')) as Record<string, unknown>;
    delete index.force_zeros_for_empty_prompt;
    writeFileSync(join(folder, 'model_index.json'), JSON.stringify(index));
    expect((await picture(folder)).data).toEqual((await picture(sampleFixture('tiny-sdxl'))).data);
  });
});

test('what is cut off of a long prompt is quoted', async () => {
  const prompt = `${'a red cat '.repeat(30)}on the dog`;
  const { notes } = await picture(fixture('tiny-sd2'), { prompt });
  expect(notes.join()).toMatch(/longer than 75 tokens; cut off: '.*on the dog'/);
  expect((await picture(fixture('tiny-sd2'), { prompt, longPrompts: 'chunks' })).notes).toEqual([]);
});

test('brackets are text unless they are asked to count, and a note says so', async () => {
  const [weighted, plain] = ['a (red:1.5) cat', 'a red cat'];
  const asText = await picture(fixture('tiny-sd2'), { prompt: weighted });
  expect(asText.notes.join()).toMatch(/brackets with weights are read as text/);
  const counted = await picture(fixture('tiny-sd2'), { prompt: weighted, promptSyntax: 'weighted' });
  expect(counted.notes).toEqual([]);
  expect(counted.data).not.toEqual(asText.data);
  expect((await picture(fixture('tiny-sd2'), { prompt: plain })).notes).toEqual([]);
});

test('an option that a model has no use for is refused, not passed over', async () => {
  const refused = (folder: string, options: object) => expect(openPipeline(folder, options)).rejects;
  await refused(sampleFixture('tiny-sd'), { guidingModel: 'x', classifier: 'y' }).toThrow(
    /guidingModel: Stable Diffusion 1, 2, XL has no use for it\s+classifier: /,
  );
  await refused(fixture('tiny-ddpm'), { parts: 'x' }).toThrow(/parts: DDPM has no use for it/);
});

test('a LoRA of which nothing applies is an error', async () => {
  const file = temporaryFile('lora.safetensors');
  await writeSafetensors(file, { 'something.weight': { shape: [1], data: Float32Array.of(1) } });
  await expect(openPipeline(sampleFixture('tiny-sd'), { lora: [{ path: file }] })).rejects.toThrow();
});
