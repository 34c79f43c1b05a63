import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AutoencoderKL } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import { MMDiT } from '@mezzotint/mmdit';
import { T5EncoderModel } from '@mezzotint/text-encoders';
import { writeSafetensors } from '@mezzotint/weights/node';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { openPipeline, type Pipeline, type Request } from '../src/node/index.js';
import { fixture } from './support/goldens.js';
import { bitmap, check, opened, schnellFolder, scratch } from './support/sd3-flux.js';

beforeAll(async () => void (await useBackend()));

/** What a run of one step tells. */
async function notesOf(pipeline: Pipeline, request: Request): Promise<string[]> {
  const notes: string[] = [];
  await pipeline.generate({ height: 16, width: 16, steps: 1, ...request }, { onNote: (line) => notes.push(line) });
  return notes;
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

  test('two prompts in one batch', () => check('sd3-batch', pipeline));

  test('a prompt for each encoder, and one for T5 alone', async () => {
    await check('sd3-three-prompts', pipeline);
    await check('sd3-third-prompt', pipeline);
  });

  test('prompts that stand there twice are read once, in a batch and over batches', async () => {
    const read = vi.spyOn(T5EncoderModel.prototype, 'forward');
    const request = { prompt: 'a red cat', negative: 'dog', height: 16, width: 16, steps: 1, textLength: 16, count: 3 };
    const pictures = async (batch: number) =>
      (await pipeline.generate({ ...request, batch })).images.map(({ data }) => [...data]);
    const [together, apart] = [await pictures(3), await pictures(1)];
    // The prompt and the negative one, each a single row.
    expect(read.mock.calls.map(([ids]) => ids.shape)).toEqual([
      [1, 16],
      [1, 16],
      [1, 16],
      [1, 16],
    ]);
    read.mockRestore();
    // One rounding to bytes may fall otherwise in a product over more rows.
    const differences = together.map((data, i) => Math.max(...data.map((value, k) => Math.abs(value - apart[i]![k]!))));
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
    expect(new Set(apart.map(String)).size).toBe(3);
  });

  test('with freeText, the transformer is gone before the last picture is decoded, and comes back', async () => {
    const frees = await opened(fixture('tiny-sd3'), { freeText: true });
    const [freed, decoded] = [vi.spyOn(MMDiT.prototype, 'dispose'), vi.spyOn(AutoencoderKL.prototype, 'decode')];
    const request = {
      prompt: 'a red cat',
      height: 16,
      width: 16,
      steps: 1,
      textLength: 16,
      count: 2,
      batch: 1,
      seed: 3,
    };
    const { images } = await frees.generate(request);
    const order = ({ mock }: { mock: { invocationCallOrder: number[] } }) => mock.invocationCallOrder;
    expect(decoded).toHaveBeenCalledTimes(2);
    expect(freed).toHaveBeenCalledTimes(1);
    expect(order(freed)[0]).toBeGreaterThan(order(decoded)[0]!);
    expect(order(freed)[0]).toBeLessThan(order(decoded)[1]!);
    expect((await frees.generate(request)).images).toEqual(images);
    for (const spy of [freed, decoded]) spy.mockRestore();
  });

  test('what CLIP and T5 do not read of long prompts is quoted, each by itself', async () => {
    const prompt = `${'a red cat '.repeat(30)}on the dog`;
    const asked = { prompt, thirdPrompt: 'a red cat and a blue dog on a red cat', guidance: 1, textLength: 8 };
    const clip =
      /^the prompt is longer than 75 tokens, which CLIP reads; cut off: '.*on the dog' \(longPrompts: chunks/;
    const t5 = /^the prompt is longer than 7 tokens, which T5 reads; cut off: '.*cat' \(textLength: up to \d+\)$/;
    const cut = await notesOf(pipeline, asked);
    expect(cut).toEqual([expect.stringMatching(clip), expect.stringMatching(t5)]);
    expect(await notesOf(pipeline, { ...asked, longPrompts: 'chunks' })).toEqual([cut[1]]);
    expect(await notesOf(pipeline, { prompt: 'cat', negative: prompt, guidance: 2, textLength: 8 })).toHaveLength(2);
    expect(await notesOf(pipeline, { prompt: 'cat', negative: prompt, guidance: 1, textLength: 8 })).toEqual([]);
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
  test('two prompts in one batch', () => check('flux-batch', dev));
  test('true guidance beside the one that the network is told', () => check('flux-true-cfg', dev));
  test('what CLIP and T5 do not read of long prompts is quoted', async () => {
    const prompt = `${'a red cat '.repeat(30)}on the dog`;
    expect(await notesOf(dev, { prompt, textLength: 16 })).toEqual([
      expect.stringMatching(/75 tokens, which CLIP reads; cut off: '.*on the dog'$/),
      expect.stringMatching(/15 tokens, which T5 reads; cut off: '.*' \(textLength: up to \d+\)$/),
    ]);
    expect(await notesOf(dev, { prompt: 'a red cat', textLength: 16 })).toEqual([]);
  });
  test('image to image', () => check('flux-img2img', dev));
  test('inpainting', () => check('flux-inpaint', dev, { mask: bitmap('mask') }));

  test('a guidance scale is refused where the network has no place for it', async () => {
    await expect(schnell.check({ prompt: 'cat', guidance: 3 })).rejects.toThrow(/guidance: FLUX.1 does not take it/);
    await expect(dev.check({ prompt: 'cat', trueGuidance: 3 })).rejects.toThrow(/needs a negative prompt/);
    await expect(dev.check({ prompt: 'cat', negative: 'dog' })).rejects.toThrow(/unless trueGuidance is above 1/);
    await expect(dev.check({ prompt: 'cat', secondNegative: 'dog' })).rejects.toThrow(
      /secondNegative: FLUX guides away/,
    );
    await expect(dev.check({ prompt: 'cat', secondNegative: 'dog', trueGuidance: 3 })).rejects.toThrow(
      /needs a negative prompt/,
    );
    await expect(dev.check({ prompt: 'cat', height: 10, width: 16 })).rejects.toThrow(
      /height: expected a multiple of 4/,
    );
  });
});

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
    expect(pipeline.notes.at(-1)).toMatch(/^transformer: \d+ Q4_0 are computed with as stored$/);
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
    await expect(openPipeline(folder)).rejects.toThrow(
      /is FLUX.1 Fill by its pipeline FluxFillPipeline, which is given a masked picture/,
    );
  });
});
