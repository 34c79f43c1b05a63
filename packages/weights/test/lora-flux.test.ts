import { type HostTensor, sizeOf, type WeightSource } from '@mezzotint/core';
import { type LoraApplied, mergeLora, sd3KeyMap, translate } from '@mezzotint/weights';
import { describe, expect, test } from 'vitest';
import { numbered } from './synthetic.js';

// Small whole numbers, so equality is exact: D = 4, 2 inputs of the pooled text.
const D = 4;
const fluxShapes: Record<string, readonly number[]> = {
  'img_in.weight': [D, 2],
  'double_blocks.0.img_attn.qkv.weight': [3 * D, D],
  'double_blocks.0.img_attn.qkv.bias': [3 * D],
  'double_blocks.0.img_attn.proj.weight': [D, D],
  'double_blocks.0.txt_attn.qkv.weight': [3 * D, D],
  'double_blocks.0.txt_attn.proj.weight': [D, D],
  'double_blocks.0.img_mlp.0.weight': [4 * D, D],
  'single_blocks.0.linear1.weight': [7 * D, D],
  'single_blocks.0.linear2.weight': [D, 5 * D],
  'final_layer.adaLN_modulation.1.weight': [2 * D, D],
};
const flux = () => numbered(fluxShapes, 'flux');

function lora(tensors: Readonly<Record<string, HostTensor>>): WeightSource {
  return {
    name: 'style.safetensors',
    tensors: new Map(Object.entries(tensors).map(([name, { shape }]) => [name, { shape, dtype: 'F32' }])),
    read: (name) => tensors[name]!,
  };
}

const matrix = (...shape: number[]): HostTensor => ({
  shape,
  data: Float32Array.from({ length: sizeOf(shape) }, (_, k) => ((k * 7) % 5) - 2),
});

/** a b as a function of row and column. */
function product(a: HostTensor, b: HostTensor): (row: number, column: number) => number {
  const rank = b.shape[0]!;
  const columns = b.data.length / rank;
  return (row, column) => {
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += a.data[row * rank + r]! * b.data[r * columns + column]!;
    return sum;
  };
}

/** Merges, and expects a change of one tensor and of no other. */
async function expectChange(
  file: WeightSource,
  name: string,
  change: (row: number, column: number) => number,
  model = flux(),
): Promise<LoraApplied> {
  let applied: LoraApplied | undefined;
  const { denoiser } = await mergeLora({ denoiser: model }, file, {
    onApplied: (told) => {
      applied = told;
    },
  });
  for (const key of model.tensors.keys()) {
    const before = await model.read(key);
    const columns = before.shape[1] ?? 1;
    const expected = before.data.map((value, i) =>
      key === name ? value + change(Math.floor(i / columns), i % columns) : value,
    );
    expect((await denoiser.read(key)).data, key).toEqual(expected);
  }
  return applied!;
}

const [down, up] = [matrix(2, D), matrix(3 * D, 2)];
const QKV = 'double_blocks.0.img_attn.qkv.weight';

describe('files for FLUX', () => {
  test.each([
    ['kohya', 'lora_unet_double_blocks_0_img_attn_qkv', '.lora_down.weight', '.lora_up.weight'],
    ['Black Forest Labs', 'double_blocks.0.img_attn.qkv', '.lora_A.weight', '.lora_B.weight'],
    ['ComfyUI', 'diffusion_model.double_blocks.0.img_attn.qkv', '.lora_A.weight', '.lora_B.weight'],
    ['XLabs', 'double_blocks.0.processor.qkv_lora1', '.down.weight', '.up.weight'],
  ])('%s: q, k and v in one', async (_, layer, downs, ups) => {
    const file = lora({ [layer + downs]: down, [layer + ups]: up });
    const applied = await expectChange(file, QKV, product(up, down));
    expect(applied).toEqual({ layers: 1, tensors: 2, total: 2 });
  });

  test('XLabs: the text stream, the maps behind attention, and q, k, v of a map that makes more', async () => {
    const at = (layer: string, up: HostTensor, down: HostTensor) =>
      lora({ [`${layer}.down.weight`]: down, [`${layer}.up.weight`]: up });
    const text = 'double_blocks.0.processor';
    await expectChange(at(`${text}.qkv_lora2`, up, down), 'double_blocks.0.txt_attn.qkv.weight', product(up, down));
    const [upD, down5] = [matrix(D, 2), matrix(2, 5 * D)];
    await expectChange(at(`${text}.proj_lora1`, upD, down), 'double_blocks.0.img_attn.proj.weight', product(upD, down));
    const single = 'single_blocks.0.processor';
    await expectChange(at(`${single}.proj_lora`, upD, down5), 'single_blocks.0.linear2.weight', product(upD, down5));
    await expectChange(at(`${single}.qkv_lora`, up, down), 'single_blocks.0.linear1.weight', (row, column) =>
      row < 3 * D ? product(up, down)(row, column) : 0,
    );
  });

  test('diffusers: a part of a fused map, and the swapped halves of the last one', async () => {
    const file = (layer: string, up: HostTensor) =>
      lora({ [`transformer.${layer}.lora_A.weight`]: down, [`transformer.${layer}.lora_B.weight`]: up });
    const [mlp, halves] = [matrix(4 * D, 2), matrix(2 * D, 2)];
    await expectChange(
      file('single_transformer_blocks.0.proj_mlp', mlp),
      'single_blocks.0.linear1.weight',
      (row, column) => (row < 3 * D ? 0 : product(mlp, down)(row - 3 * D, column)),
    );
    await expectChange(file('norm_out.linear', halves), 'final_layer.adaLN_modulation.1.weight', (row, column) =>
      product(halves, down)((row + D) % (2 * D), column),
    );
  });

  test('a bias is added with the strength of its layer', async () => {
    const bias = matrix(3 * D);
    const file = lora({
      'double_blocks.0.img_attn.qkv.lora_A.weight': matrix(2, D),
      'double_blocks.0.img_attn.qkv.lora_B.weight': { shape: [3 * D, 2], data: new Float32Array(6 * D) },
      'double_blocks.0.img_attn.qkv.lora_B.bias': bias,
    });
    await expectChange(file, 'double_blocks.0.img_attn.qkv.bias', (row) => bias.data[row]!);
    const wide = lora({
      'double_blocks.0.img_attn.proj.lora_A.weight': matrix(2, D),
      'double_blocks.0.img_attn.proj.lora_B.weight': matrix(D, 2),
      'double_blocks.0.img_attn.proj.lora_B.bias': matrix(D),
    });
    await expect(mergeLora({ denoiser: flux() }, wide)).rejects.toThrow(
      /img_attn.proj has a bias \[4\], the layer none/,
    );
  });

  test('one that widens the input (FLUX.1 Canny and Depth) does not fit', async () => {
    const file = lora({ 'img_in.lora_A.weight': matrix(2, 4), 'img_in.lora_B.weight': matrix(D, 2) });
    await expect(mergeLora({ denoiser: flux() }, file)).rejects.toThrow(/img_in has down \[2,4\] and up \[4,2\]/);
  });
});

describe('LyCORIS', () => {
  const w1 = matrix(3, 2);
  const w2 = matrix(D, 2);
  const kron = (a: HostTensor, b: HostTensor) => (row: number, column: number) =>
    a.data[Math.floor(row / D) * 2 + Math.floor(column / 2)]! * b.data[(row % D) * 2 + (column % 2)]!;

  test('LoKr of whole factors: alpha has no rank to be divided by', async () => {
    const layer = 'lycoris_double_blocks_0_img_attn_qkv';
    const file = lora({ [`${layer}.lokr_w1`]: w1, [`${layer}.lokr_w2`]: w2, [`${layer}.alpha`]: matrix(1) });
    expect(await expectChange(file, QKV, kron(w1, w2))).toEqual({ layers: 1, tensors: 3, total: 3 });
  });

  test('LoKr with a factor of low rank: alpha over its rank', async () => {
    const layer = 'lora_unet_double_blocks_0_img_attn_qkv';
    const [a, b] = [matrix(D, 4), matrix(4, 2)];
    const whole: HostTensor = {
      shape: [D, 2],
      data: Float32Array.from({ length: 2 * D }, (_, i) => product(a, b)(Math.floor(i / 2), i % 2)),
    };
    const file = lora({
      [`${layer}.lokr_w1`]: w1,
      [`${layer}.lokr_w2_a`]: a,
      [`${layer}.lokr_w2_b`]: b,
      [`${layer}.alpha`]: { shape: [], data: Float32Array.of(2) },
    });
    await expectChange(file, QKV, (row, column) => kron(w1, whole)(row, column) / 2);
  });

  test('LoHa: the elementwise product of two', async () => {
    const layer = 'lora_unet_double_blocks_0_img_attn_proj';
    const [a, b, c, d] = [matrix(D, 2), matrix(2, D), matrix(D, 3), matrix(3, D)];
    const file = lora({
      [`${layer}.hada_w1_a`]: a,
      [`${layer}.hada_w1_b`]: b,
      [`${layer}.hada_w2_a`]: c,
      [`${layer}.hada_w2_b`]: d,
    });
    await expectChange(
      file,
      'double_blocks.0.img_attn.proj.weight',
      (row, column) => product(a, b)(row, column) * product(c, d)(row, column),
    );
  });

  test('factors that do not fit are named', async () => {
    const layer = 'lora_unet_double_blocks_0_img_attn_qkv';
    const file = lora({ [`${layer}.lokr_w1`]: matrix(5, 2), [`${layer}.lokr_w2`]: w2 });
    await expect(mergeLora({ denoiser: flux() }, file)).rejects.toThrow(/has Kronecker factors \[5,2\] and \[4,2\]/);
  });
});

test('Stable Diffusion 3: files of diffusers and kohya on the original model', async () => {
  const model = numbered({
    pos_embed: [1, 4, D],
    'x_embedder.proj.weight': [D, 2, 1, 1],
    'joint_blocks.0.x_block.attn.qkv.weight': [3 * D, D],
    'joint_blocks.0.context_block.attn.qkv.weight': [3 * D, D],
  });
  const upD = matrix(D, 2);
  const peft = 'transformer.transformer_blocks.0.attn.to_v';
  const file = lora({ [`${peft}.lora_A.weight`]: down, [`${peft}.lora_B.weight`]: upD });
  await expectChange(
    file,
    'joint_blocks.0.x_block.attn.qkv.weight',
    (row, column) => (row < 2 * D ? 0 : product(upD, down)(row - 2 * D, column)),
    model,
  );
  const kohya = 'lora_unet_joint_blocks_0_context_block_attn_qkv';
  const other = lora({ [`${kohya}.lora_down.weight`]: down, [`${kohya}.lora_up.weight`]: up });
  await expectChange(other, 'joint_blocks.0.context_block.attn.qkv.weight', product(up, down), model);
  // And on a folder of diffusers, whose model has the other layout.
  const folder = translate(model, sd3KeyMap(model.tensors.keys(), 'left'), 'left');
  const { denoiser } = await mergeLora({ denoiser: folder }, other);
  const back = translate(denoiser, sd3KeyMap(denoiser.tensors.keys(), 'right'), 'right');
  const name = 'joint_blocks.0.context_block.attn.qkv.weight';
  const before = await model.read(name);
  const expected = before.data.map((value, i) => value + product(up, down)(Math.floor(i / D), i % D));
  expect((await back.read(name)).data).toEqual(expected);
});
