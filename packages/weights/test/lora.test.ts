import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HostTensor, sizeOf, type WeightSource } from '@mezzotint/core';
import { mergeLora, translate, unetKeyMap } from '@mezzotint/weights';
import { readLora, writeSafetensors } from '@mezzotint/weights/node';
import { describe, expect, test } from 'vitest';
import { manifest, shrunk } from './manifests.js';
import { numbered } from './synthetic.js';

/** A LoRA of given tensors. */
function lora(tensors: Readonly<Record<string, HostTensor>>): WeightSource {
  return {
    name: 'style.safetensors',
    tensors: new Map(Object.entries(tensors).map(([name, { shape }]) => [name, { shape, dtype: 'F32' }])),
    read: (name) => tensors[name]!,
  };
}

const matrix = (shape: readonly number[], f: (k: number) => number): HostTensor => ({
  shape,
  data: Float32Array.from({ length: sizeOf(shape) }, (_, k) => f(k)),
});

/** Rank 2 on a layer of 3 outputs and 2 inputs: up down is [[1, 2], [3, 4], [4, 6]]. */
const down = matrix([2, 2], (k) => k + 1);
const up: HostTensor = { shape: [3, 2], data: Float32Array.of(1, 0, 0, 1, 1, 1) };
const product = [1, 2, 3, 4, 4, 6];
const model = () =>
  numbered({
    'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight': [3, 2],
    'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight': [3, 2],
  });
const TO_OUT = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight';

describe('the layouts of LoRA files; small whole numbers, so equality is exact', () => {
  test.each<[string, string, string, string, string]>([
    [
      'kohya',
      'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0',
      '.lora_down.weight',
      '.lora_up.weight',
      '.alpha',
    ],
    [
      'peft',
      'base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0',
      '.lora_A.weight',
      '.lora_B.weight',
      '.alpha',
    ],
    [
      'diffusers',
      'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0',
      '.lora.down.weight',
      '.lora.up.weight',
      '.alpha',
    ],
    [
      'old diffusers',
      'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out',
      '_lora.down.weight',
      '_lora.up.weight',
      '_lora.alpha',
    ],
  ])('%s', async (_, layer, downEnding, upEnding, alphaEnding) => {
    const file = lora({ [layer + downEnding]: down, [layer + upEnding]: up });
    const { denoiser } = await mergeLora({ denoiser: model() }, file);
    // Without alpha it is the rank: the factor is 1.
    expect((await denoiser.read(TO_OUT)).data).toEqual(Float32Array.from(product, (p, k) => k + p));
    const weak = lora({
      [layer + downEnding]: down,
      [layer + upEnding]: up,
      [layer + alphaEnding]: matrix([], () => 1),
    });
    const half = await mergeLora({ denoiser: model() }, weak, { scale: 3 });
    expect((await half.denoiser.read(TO_OUT)).data).toEqual(Float32Array.from(product, (p, k) => k + 1.5 * p));
    // Other layers stay.
    const other = TO_OUT.replace('to_out.0', 'to_q');
    expect(await half.denoiser.read(other)).toEqual(await model().read(other));
  });

  test("text encoders, kohya's and diffusers' first names", async () => {
    const text = () => numbered({ 'text_model.encoder.layers.0.self_attn.q_proj.weight': [3, 2] });
    for (const layer of [
      'lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_',
      'lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_',
    ]) {
      const file = lora({ [`${layer}down.weight`]: down, [`${layer}up.weight`]: up });
      const { text_encoder } = await mergeLora({ text_encoder: text() }, file);
      expect((await text_encoder.read('text_model.encoder.layers.0.self_attn.q_proj.weight')).data[0]).toBe(1);
    }
    const old = 'text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora';
    const { text_encoder } = await mergeLora(
      { text_encoder: text() },
      lora({ [`${old}.down.weight`]: down, [`${old}.up.weight`]: up }),
    );
    expect((await text_encoder.read('text_model.encoder.layers.0.self_attn.q_proj.weight')).data[0]).toBe(1);
  });

  test('convolutions: down has the kernel, up is 1x1', async () => {
    const target = numbered({ 'conv_in.weight': [2, 1, 3, 3] });
    const file = lora({
      'lora_unet_conv_in.lora_down.weight': matrix([1, 1, 3, 3], (k) => k),
      'lora_unet_conv_in.lora_up.weight': matrix([2, 1, 1, 1], (k) => k + 1),
    });
    const { denoiser } = await mergeLora({ denoiser: target }, file);
    // Element (o, k) of the kernel: 9 o + k + (o + 1) k.
    expect(await denoiser.read('conv_in.weight')).toEqual({
      shape: [2, 1, 3, 3],
      data: Float32Array.from({ length: 18 }, (_, n) => n + (Math.floor(n / 9) + 1) * (n % 9)),
    });
  });

  test('LoCon: a convolution of the rank between down and up is the composition of the three', async () => {
    const target = numbered({ 'conv_in.weight': [2, 3, 1, 2] });
    const [d, m, u] = [
      matrix([2, 3, 1, 1], (k) => k + 1),
      matrix([2, 2, 1, 2], (k) => 10 ** (k % 4)),
      matrix([2, 2, 1, 1], (k) => k),
    ];
    const file = lora({
      'lora_unet_conv_in.lora_down.weight': d,
      'lora_unet_conv_in.lora_mid.weight': m,
      'lora_unet_conv_in.lora_up.weight': u,
      'lora_unet_conv_in.alpha': matrix([], () => 2),
    });
    const { denoiser } = await mergeLora({ denoiser: target }, file);
    // Pixel by pixel the product of the three matrices.
    const product = (o: number, i: number, p: number) => {
      let sum = 0;
      for (const a of [0, 1]) {
        for (const b of [0, 1]) sum += u.data[2 * o + a]! * m.data[(2 * a + b) * 2 + p]! * d.data[3 * b + i]!;
      }
      return sum;
    };
    const expected = Float32Array.from(
      { length: 12 },
      (_, k) => k + product(Math.floor(k / 6), Math.floor(k / 2) % 3, k % 2),
    );
    expect((await denoiser.read('conv_in.weight')).data).toEqual(expected);
  });

  test('DoRA: rows, or columns, get the lengths of the file', async () => {
    const layer = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0';
    const lengths = async (scale: HostTensor) => {
      const file = lora({
        [`${layer}.lora_down.weight`]: down,
        [`${layer}.lora_up.weight`]: up,
        [`${layer}.dora_scale`]: scale,
      });
      const { denoiser } = await mergeLora({ denoiser: model() }, file);
      return (await denoiser.read(TO_OUT)).data;
    };
    // W + up down is [[1, 3], [5, 7], [8, 11]].
    const sum = [1, 3, 5, 7, 8, 11];
    const byRow = await lengths({ shape: [3, 1], data: Float32Array.of(2, 3, 4) });
    const byColumn = await lengths({ shape: [1, 2], data: Float32Array.of(2, 3) });
    sum.forEach((value, k) => {
      const [row, column] = [Math.floor(k / 2), k % 2];
      // One rounding to float32 after the other: 1e-6.
      expect(byRow[k]).toBeCloseTo(((row + 2) * value) / Math.hypot(sum[2 * row]!, sum[2 * row + 1]!), 5);
      expect(byColumn[k]).toBeCloseTo(
        ((column + 2) * value) / Math.hypot(...[0, 2, 4].map((r) => sum[r + column]!)),
        5,
      );
    });
    await expect(lengths({ shape: [5], data: new Float32Array(5) })).rejects.toThrow(/has lengths \[5\], which do not/);
  });

  test("peft's folder: alpha comes from adapter_config.json", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lora-'));
    const layer = 'base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0';
    const path = join(folder, 'adapter_model.safetensors');
    await writeSafetensors(path, { [`${layer}.lora_A.weight`]: down, [`${layer}.lora_B.weight`]: up });
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ r: 2, lora_alpha: 6 }));
    const file = await readLora(path);
    const { denoiser } = await mergeLora({ denoiser: model() }, file);
    // 6 / 2 times the product.
    expect((await denoiser.read(TO_OUT)).data).toEqual(Float32Array.from(product, (p, k) => k + 3 * p));
    file.close();
    rmSync(folder, { recursive: true });
  });

  test("original names on a diffusers model (kohya's SDXL files)", async () => {
    const unet = shrunk('sdxl-unet-diffusers');
    const layer = 'lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q';
    const home = 'down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight';
    const [rows] = unet.tensors.get(home)!.shape as [number];
    const file = lora({
      [`${layer}.lora_down.weight`]: matrix([1, 2], () => 1),
      [`${layer}.lora_up.weight`]: matrix([rows, 1], () => 2),
    });
    const { denoiser } = await mergeLora({ denoiser: unet }, file);
    expect([...denoiser.tensors.keys()].sort()).toEqual([...unet.tensors.keys()].sort());
    const [before, after] = [await unet.read(home), await denoiser.read(home)];
    expect(after.data).toEqual(before.data.map((x) => x + 2));
    const original = translate(denoiser, unetKeyMap(denoiser.tensors.keys(), 'right'), 'right');
    expect((await original.read('input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight')).data).toEqual(after.data);
  });

  test("diffusers' FLUX files on the original model: one part of a fused matrix", async () => {
    const flux = shrunk('flux-original');
    const layer = 'transformer.transformer_blocks.3.attn.to_k';
    const [rows] = flux.tensors.get('double_blocks.3.img_attn.qkv.weight')!.shape as [number];
    const file = lora({
      [`${layer}.lora_A.weight`]: matrix([1, 2], () => 1),
      [`${layer}.lora_B.weight`]: matrix([rows / 3, 1], () => 5),
    });
    const { denoiser } = await mergeLora({ denoiser: flux }, file);
    const [before, after] = [
      await flux.read('double_blocks.3.img_attn.qkv.weight'),
      await denoiser.read('double_blocks.3.img_attn.qkv.weight'),
    ];
    const part = before.data.length / 3;
    expect(after.data).toEqual(before.data.map((x, i) => (i >= part && i < 2 * part ? x + 5 : x)));
    expect(denoiser.tensors.size).toBe(780);
  });
});

describe('nothing is skipped in silence', () => {
  const pair = (layer: string): Record<string, HostTensor> => ({
    [`${layer}.lora_down.weight`]: down,
    [`${layer}.lora_up.weight`]: up,
  });

  test('layers without a home, models that were not given, matrices that do not fit: all at once', async () => {
    const file = lora({
      ...pair('lora_unet_no_such_layer'),
      ...pair('lora_te2_text_model_encoder_layers_0_mlp_fc1'),
      'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight': matrix([2, 9], () => 0),
      'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight': up,
    });
    await expect(mergeLora({ denoiser: model() }, file)).rejects.toThrow(
      /style.safetensors does not fit:\n {2}denoiser: no_such_layer finds no home\n.*to_q has down \[2,9\] and up \[3,2\], which do not fit \[3,2\].*\n {2}1 layers are for text_encoder_2, which was not given/,
    );
  });

  test('part of a file can be left out, on purpose', async () => {
    const file = lora({
      ...pair('lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q'),
      ...pair('lora_te_text_model_encoder_layers_0_mlp_fc1'),
    });
    const merged = await mergeLora({ denoiser: model() }, file, { only: ['denoiser'] });
    expect((await merged.denoiser.read(TO_OUT.replace('to_out.0', 'to_q'))).data[1]).toBe(1003);
  });

  test.each([
    ['part of a LoHa', { 'lora_unet_x.hada_w1_a': up }, 'lora_unet_x: lacks one of its four matrices (LoHa)'],
    ['part of a LoKr', { 'lora_unet_x.lokr_w1': up }, 'lora_unet_x: has no whole second factor (LoKr)'],
    ['a norm', { ...pair('unet.x'), 'unet.norm_q.scale': up }, 'unet.norm_q.scale: not a tensor of a LoRA'],
    ['half a pair', { 'lora_unet_x.lora_up.weight': up }, 'lora_unet_x: has no down matrix'],
    ['nothing', {}, 'holds no LoRA layers'],
  ])('%s is refused', async (_, tensors, problem) => {
    await expect(mergeLora({ denoiser: model() }, lora(tensors as Record<string, HostTensor>))).rejects.toThrow(
      problem,
    );
  });
});

test.each([
  ['{', 'not JSON'],
  ['[]', 'expected an object'],
  ['{"unet.lora_alpha":"9"}', 'expected a number as alpha, got "9"'],
  ['{"unet.r":2,"unet.alpha_pattern":{"(a+)+":1}}', 'expected names of layers, got the expression "(a+)+"'],
])('notes that cannot be followed are refused: %s', async (text, problem) => {
  const layer = `unet.${TO_OUT.replace('.weight', '')}`;
  const file = lora({ [`${layer}.lora_A.weight`]: down, [`${layer}.lora_B.weight`]: up });
  const noted = { ...file, metadata: new Map([['lora_adapter_metadata', text]]) };
  await expect(mergeLora({ denoiser: model() }, noted)).rejects.toThrow(problem);
});

test('the layers of the published SDXL UNet can all be told apart without their dots', () => {
  const names = Object.keys(manifest('sdxl-unet-diffusers')).filter((name) => name.endsWith('.weight'));
  expect(new Set(names.map((name) => name.replaceAll('.', '_'))).size).toBe(names.length);
});
