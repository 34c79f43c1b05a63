import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InvalidFileError, Module, ones, Param, type WeightSource } from '@mezzotint/core';
import { bytesSource, openComponent, openGguf, withShapesOf } from '@mezzotint/weights';
import { readSafetensors, readWeights } from '@mezzotint/weights/node';
import { describe, expect, test } from 'vitest';

const path = (name: string) => fileURLToPath(new URL(`fixtures/gguf/${name}`, import.meta.url));

describe('blocks of every kind', () => {
  test('are to the bit what the gguf package makes of them', async () => {
    const file = await readWeights(path('blocks.gguf'));
    const expected = readSafetensors(path('blocks.safetensors'));
    expect(new Set(file.tensors.keys())).toEqual(new Set(expected.tensors.keys()));
    for (const [name, { shape }] of expected.tensors) {
      const [ours, theirs] = [await file.read(name), expected.read(name)];
      expect(ours.shape, name).toEqual(shape);
      expect(ours.data, name).toEqual(theirs.data);
    }
    file.close();
    expected.close();
  });

  test('the header’s numbers and texts are read, of its lists those of the vocabulary', async () => {
    const file = await readWeights(path('blocks.gguf'));
    expect([...(file.lists ?? [])]).toEqual([['tokenizer.ggml.tokens', ['<pad>', 'a', 'ü']]]);
    expect(Object.fromEntries(file.metadata)).toMatchObject({
      'general.architecture': 'flux',
      'general.name': 'blocks of every kind',
      'a.float': '0.5',
    });
    expect(file.metadata.has('tokenizer.ggml.tokens')).toBe(false);
    expect(file.tensors.get('Q4_K.weight')).toMatchObject({ dtype: 'Q4_K', shape: [2, 512] });
    file.close();
  });

  test('16-bit floats are given as they are, where that is asked for', async () => {
    const file = await readWeights(path('blocks.gguf'));
    const half = await file.take!('F16.weight', ['float16', 'bfloat16']);
    const brain = await file.take!('BF16.weight', ['float16', 'bfloat16']);
    expect([half.dtype, brain.dtype]).toEqual(['float16', 'bfloat16']);
    expect((await file.take!('F16.weight', [])).data).toEqual((await file.read('F16.weight')).data);
    file.close();
  });
});

/** A GGUF file of one tensor, as told. */
function gguf({
  magic = 'GGUF',
  version = 3,
  tensors = 1n,
  keys = 0n,
  dims = [32n],
  type = 0,
  offset = 0n,
  data = 128,
  name = 'w',
}: Partial<Record<'magic' | 'name', string>> & {
  version?: number;
  tensors?: bigint;
  keys?: bigint;
  dims?: bigint[];
  type?: number;
  offset?: bigint;
  data?: number;
} = {}): Uint8Array {
  const parts: number[] = [...new TextEncoder().encode(magic)];
  const u32 = (n: number) => parts.push(...new Uint8Array(Uint32Array.of(n).buffer));
  const u64 = (n: bigint) => parts.push(...new Uint8Array(BigUint64Array.of(n).buffer));
  u32(version);
  u64(tensors);
  u64(keys);
  u64(BigInt(name.length));
  parts.push(...new TextEncoder().encode(name));
  u32(dims.length);
  for (const d of dims) u64(d);
  u32(type);
  u64(offset);
  while (parts.length % 32 !== 0) parts.push(0);
  return Uint8Array.from([...parts, ...new Uint8Array(data)]);
}

describe('what is refused, before anything is allocated', () => {
  test.each<[string, Uint8Array, RegExp]>([
    ['another format', gguf({ magic: 'GGML' }), /not a GGUF file/],
    ['version 1', gguf({ version: 1 }), /expected version 2 or 3, got 1/],
    ['big-endian', gguf({ version: 3 * 2 ** 24 }), /big-endian/],
    ['more tensors than bytes', gguf({ tensors: 2n ** 60n }), /claims \d+ tensors/],
    ['more keys than bytes', gguf({ keys: 2n ** 40n }), /claims \d+ keys/],
    ['a shape of exabytes', gguf({ dims: [2n ** 40n, 2n ** 40n] }), /is too large|lie outside/],
    ['a size that wraps', gguf({ dims: [2n ** 63n, 2n] }), /is too large/],
    ['too many axes', gguf({ dims: Array.from({ length: 9 }, () => 1n) }), /9 axes/],
    ['half a block', gguf({ dims: [48n], type: 2 }), /not in whole blocks of 32/],
    ['a type that is not read', gguf({ type: 16 }), /the type IQ2_XXS cannot be read/],
    ['a type that there is not', gguf({ type: 99 }), /the type 99 cannot be read/],
    ['data outside the file', gguf({ data: 100 }), /lie outside the 100 bytes of data/],
    ['an odd offset', gguf({ offset: 4n }), /no multiple of 32/],
    ['a cut header', gguf().subarray(0, 40), /ends in the middle/],
  ])('%s', async (_, bytes, message) => {
    const opened = openGguf(bytesSource(bytes));
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toSatisfy((error) => InvalidFileError.isInstance(error));
  });

  test('two tensors in the same bytes', async () => {
    const bytes = new Uint8Array(readFileSync(path('blocks.gguf')));
    // The offset of the second tensor, made that of the first: its info ends right before the third one's name.
    const text = new TextDecoder('latin1').decode(bytes);
    const at = text.indexOf('BF16.weight') - 8 - 8;
    bytes.fill(0, at, at + 8);
    await expect(openGguf(bytesSource(bytes))).rejects.toThrow(/overlaps the tensor before it/);
  });
});

/** Tensors of given shapes, all zeros. */
function zeros(shapes: Record<string, number[]>): WeightSource {
  return {
    name: 'made up',
    tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: 'F32' }])),
    read: (name) => ({ shape: shapes[name]!, data: new Float32Array(shapes[name]!.reduce((n, d) => n * d, 1)) }),
  };
}

test.each([
  ['gated', ['ffn_gate', 'ffn_up'], ['wi_0', 'wi_1']],
  ['plain', ['ffn_up'], ['wi']],
])('T5 in llama.cpp’s names, %s', (_, ffn, wi) => {
  const theirs = ['attn_q', 'attn_k', 'attn_v', 'attn_o', 'attn_rel_b', 'attn_norm', 'ffn_down', 'ffn_norm', ...ffn];
  const names = [...theirs.map((name) => `enc.blk.0.${name}`), 'token_embd', 'enc.output_norm'];
  const source = zeros(Object.fromEntries(names.map((name) => [`${name}.weight`, [2, 2]])));
  const { model, layout, weights } = openComponent(source);
  expect([model, layout]).toEqual(['t5', 'gguf']);
  const attention = ['q', 'k', 'v', 'o', 'relative_attention_bias'].map((name) => `0.SelfAttention.${name}`);
  const mlp = [...wi, 'wo'].map((name) => `1.DenseReluDense.${name}`);
  const block = [...attention, ...mlp, '0.layer_norm', '1.layer_norm'].map((name) => `encoder.block.0.layer.${name}`);
  const expected = ['shared', 'encoder.final_layer_norm', ...block].map((name) => `${name}.weight`);
  expect(new Set(weights.tensors.keys())).toEqual(new Set(expected));
});

test('axes of length 1 are as the model has them; other shapes stay, and do not load', async () => {
  class Model extends Module {
    readonly pos_embed = new Param([1, 4, 2], { init: ones });
    readonly linear = new Param([2, 3], { init: ones });
    readonly other = new Param([2, 3], { init: ones });
  }
  const source = zeros({ pos_embed: [4, 2], linear: [2, 3, 1, 1], other: [3, 2] });
  const view = withShapesOf(new Model(), source);
  expect([...view.tensors.values()].map(({ shape }) => shape)).toEqual([
    [1, 4, 2],
    [2, 3],
    [3, 2],
  ]);
  expect((await view.read('pos_embed')).shape).toEqual([1, 4, 2]);
  await expect(new Model().load(view)).rejects.toThrow(/other: expected \[2, 3\], got \[3, 2\]/);
});
