import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp } from '@mezzotint/app/testing';
import type { HostTensor } from '@mezzotint/core';
import { readSafetensors, readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sampleCommand } from '../src/command.js';
import type { Explanation } from '../src/explain/explanation.js';
import { sampleToFile } from '../src/sample-to-file.js';
import { originalLayout } from './support/original-layout.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-explain-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const model = fileURLToPath(new URL('./fixtures/tiny-sd', import.meta.url));
const weights = 'unet/diffusion_pytorch_model.safetensors';
const explain = (...argv: string[]) => runApp(sampleCommand(), sampleToFile, ['--explain', ...argv]);
const json = async (...argv: string[]) => JSON.parse((await explain('--json', ...argv)).out) as Explanation;
const zeros = (...shape: number[]): HostTensor => ({
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
});

function state(file: string): Record<string, HostTensor> {
  const source = readSafetensors(file);
  const all = Object.fromEntries([...source.tensors.keys()].map((name) => [name, source.read(name)]));
  source.close();
  return all;
}

/** The tiny folder's weights in the original layout, with what published files also hold. */
const single: Record<string, HostTensor> = { betas: zeros(1000) };
beforeAll(async () => void Object.assign(single, await originalLayout(model)));

test('a folder: every tensor of every part is named, and fits', async () => {
  const { code, out, err } = await explain('--model', model);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain('  conv_in.weight -> conv_in.weight\n');
  expect(out).toMatch(/Everything fits\.\n$/);
  const { parts, misfits } = await json('--model', model);
  expect(misfits).toBe(0);
  expect(parts.map(({ part }) => part)).toEqual(['unet', 'vae', 'text_encoder']);
  for (const { part, moves } of parts) {
    const file = await readWeights(join(model, part));
    expect(moves.flatMap(({ from }) => from).sort()).toEqual([...file.tensors.keys()].sort());
    file.close();
  }
});

test('one file: each key’s way, what is not used and why; the whole report when something does not fit', async () => {
  const good = join(root, 'good.safetensors');
  await writeSafetensors(good, single);
  const { code, out } = await explain('--model', good, '--parts', model);
  expect(code).toBe(0);
  expect(out).toContain('input_blocks.0.0.weight -> conv_in.weight');
  expect(out).toContain('not used: betas: the noise schedule, which the scheduler computes');

  const { 'model.diffusion_model.out.2.bias': _, ...rest } = single;
  const bad = join(root, 'bad.safetensors');
  await writeSafetensors(bad, {
    ...rest,
    'model.diffusion_model.out.2.weight': zeros(4, 7, 3, 3),
    'model.diffusion_model.extra': zeros(1),
    'mystery.weight': zeros(1),
  });
  const refused = await explain('--model', bad, '--parts', model);
  expect(refused.code).toBe(2);
  expect(refused.err).toMatch(/--explain: 4 of the keys do not fit/);
  for (const line of [
    'input_blocks.0.0.weight -> conv_in.weight',
    '  missing: conv_out.bias',
    '  another shape: conv_out.weight: expected [4, 8, 3, 3], got [4, 7, 3, 3]',
    'does not fit: unet: extra: has no place in this layout',
    'does not fit: mystery.weight: belongs to no known model',
    '4 things do not fit.',
  ]) {
    expect(refused.out).toContain(line);
  }
  const facts = await json('--model', bad, '--parts', model);
  expect(facts.misfits).toBe(4);
  expect(facts.parts[0]).toMatchObject({ part: 'unet', missing: ['conv_out.bias'] });
});

test('a LoRA: the home of every layer in each of the three layouts, and what has none', async () => {
  const layer = 'down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k';
  const files = {
    kohya: ['lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k', 'lora_down.weight', 'lora_up.weight'],
    diffusers: [
      'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora',
      'down.weight',
      'up.weight',
    ],
    peft: [`base_model.model.${layer}`, 'lora_A.weight', 'lora_B.weight'],
  } as const;
  for (const [name, [path, down, up]] of Object.entries(files)) {
    const file = join(root, `${name}.safetensors`);
    await writeSafetensors(file, { [`${path}.${down}`]: zeros(2, 12), [`${path}.${up}`]: zeros(8, 2) });
    const { code, out } = await explain('--model', model, '--lora', `${file}:0.5`);
    expect(code, name).toBe(0);
    expect(out).toContain(`${path}.${down} + ${path}.${up} (rank 2) -> denoiser: ${layer}.weight`);
  }
  const wrong = join(root, 'wrong.safetensors');
  await writeSafetensors(wrong, {
    'lora_unet_nowhere.lora_down.weight': zeros(2, 12),
    'lora_unet_nowhere.lora_up.weight': zeros(8, 2),
    [`unet.${layer}.lora_A.weight`]: zeros(2, 13),
    [`unet.${layer}.lora_B.weight`]: zeros(8, 2),
    'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight': zeros(2, 12),
    'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight': zeros(24, 2),
    'lora_unet_conv_in.dora_scale': zeros(1),
  });
  const refused = await explain('--model', model, '--lora', wrong);
  expect(refused.code).toBe(2);
  expect(refused.out).toMatch(/nowhere finds no home/);
  expect(refused.out).toMatch(/has down \[2,13\] and up \[8,2\], which do not fit \[8,12\]/);
  expect(refused.out).toMatch(/is for text_encoder_2, which the model has not/);
  expect(refused.out).toMatch(/lora_unet_conv_in: has no down matrix/);
  expect(refused.out).toMatch(/4 things do not fit/);

  const alone = await explain('--model', join(root, 'kohya.safetensors'));
  expect(alone.code).toBe(0);
  expect(alone.out).toMatch(/a LoRA; give it as --lora beside its --model/);
  expect(alone.out).toMatch(/-> denoiser: input_blocks_1_1_transformer_blocks_0_attn2_to_k/);
});

test('a folder with a hole and a stranger', async () => {
  const folder = join(root, 'holed');
  cpSync(model, folder, { recursive: true });
  const { 'conv_in.bias': _, ...rest } = state(join(model, weights));
  await writeSafetensors(join(folder, weights), { ...rest, stranger: zeros(2) }, { overwrite: true });
  const { code, out } = await explain('--model', folder);
  expect(code).toBe(2);
  expect(out).toContain('  missing: conv_in.bias');
  expect(out).toContain('  has no place: stranger');
  const nothing = await explain('--model', folder, '--variant', 'fp8');
  expect(nothing.err).toMatch(/no weights of the variant "fp8"/);
  expect(nothing.code).toBe(2);
});
