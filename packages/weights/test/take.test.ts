import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asWeightSource, type StateDict, type WeightSource } from '@mezzotint/core';
import { type KeyMap, mergeLora, renamed, translate, withoutPrefix } from '@mezzotint/weights';
import { readSafetensors, readWeights, writeSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mezzotint-take-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** 1, -2, 0.5, 65504 as float16. */
const numbers = Float32Array.of(1, -2, 0.5, 65504);
const halves = Uint16Array.of(0x3c00, 0xc000, 0x3800, 0x7bff);

async function write(name: string, state: StateDict, dtype: 'F32' | 'F16' = 'F16'): Promise<string> {
  const path = join(folder, name);
  await writeSafetensors(path, state, { dtype, overwrite: true });
  return path;
}

const matrix = (data = numbers) => ({ shape: [2, 2], data });

describe('a safetensors file gives tensors away', () => {
  test('16-bit floats as they are where the caller keeps them, else widened; integers as integers', async () => {
    const file = readSafetensors(await write('a', { w: matrix(), n: { shape: [1], data: Int32Array.of(7) } }));
    expect(file.take('w', ['float16'])).toEqual({ shape: [2, 2], dtype: 'float16', data: halves });
    expect(file.take('w', ['bfloat16'])).toEqual({ shape: [2, 2], dtype: 'float32', data: numbers });
    expect(file.take('w')).toEqual({ shape: [2, 2], dtype: 'float32', data: numbers });
    expect(file.take('n', ['float16'])).toEqual({ shape: [1], dtype: 'int32', data: Int32Array.of(7) });
    expect(() => file.take('none')).toThrow('holds no tensor named "none"');
    file.close();
  });

  test('each time another array, which nobody else holds', async () => {
    const file = readSafetensors(await write('b', { w: matrix() }, 'F32'));
    file.take('w').data.fill(0);
    expect(file.take('w').data).toEqual(numbers);
    file.close();
  });
});

describe('views pass it on', () => {
  const map: KeyMap = {
    name: 'a layout',
    pairs: [
      { left: 'same', right: ['moved'], op: 'same' },
      { left: 'turned', right: ['transposed'], op: 'transposed' },
      { left: 'qkv', right: ['q', 'k'], op: 'fused' },
      { left: 'point', right: ['matrix'], op: 'pointwise' },
    ],
    leftOut: [],
  };
  const state: StateDict = {
    same: matrix(),
    turned: matrix(),
    qkv: matrix(),
    point: { shape: [2, 2, 1, 1], data: numbers },
  };
  /** Keeps what the other layout leaves alone in 16 bits, and gives all else widened, each equal to `read`. */
  async function check(source: WeightSource, kept: readonly string[]): Promise<void> {
    for (const [name, { shape }] of source.tensors) {
      const taken = await source.take!(name, ['float16']);
      const read = await source.read(name);
      expect(taken.shape).toEqual(shape);
      if (kept.includes(name)) expect(taken).toEqual({ shape, dtype: 'float16', data: halves });
      else expect(taken).toEqual({ ...read, dtype: 'float32' });
      taken.data.fill(0);
      expect(await source.read(name)).toEqual(read);
    }
  }

  test('translations, in both directions', async () => {
    const file = readSafetensors(await write('c', state));
    const right = translate(file, map, 'left');
    await check(right, ['moved', 'matrix']);
    await check(translate(right, map, 'right'), ['same', 'point']);
    file.close();
  });

  test('other names and shards', async () => {
    const path = await write('d.safetensors', { 'model.w': matrix() });
    writeFileSync(join(folder, 'x.index.json'), JSON.stringify({ weight_map: { 'model.w': 'd.safetensors' } }));
    const whole = readSafetensors(path);
    const shards = await readWeights(join(folder, 'x.index.json'));
    await check(withoutPrefix(whole, 'model.'), ['w']);
    await check(
      renamed(shards, (name) => name),
      ['model.w'],
    );
    for (const file of [whole, shards]) file.close();
  });

  test('a LoRA changes what it changes', async () => {
    const names = ['mid_block.attentions.0.transformer_blocks.0.attn1.to_q', 'conv_in'];
    const file = readSafetensors(
      await write('e', Object.fromEntries(names.map((name) => [`${name}.weight`, matrix()]))),
    );
    const one = { shape: [1, 2], data: Float32Array.of(1, 1) };
    const lora = asWeightSource({
      [`unet.${names[0]}.lora_A.weight`]: one,
      [`unet.${names[0]}.lora_B.weight`]: { shape: [2, 1], data: Float32Array.of(1, 0) },
    });
    const { denoiser } = await mergeLora({ denoiser: file as WeightSource }, lora);
    await check(denoiser, ['conv_in.weight']);
    expect((await denoiser.take!(`${names[0]}.weight`)).data).toEqual(Float32Array.of(2, -1, 0.5, 65504));
    file.close();
  });

  test('a source that gives nothing away has views that do not', () => {
    const source = asWeightSource(state);
    expect(translate(source, map, 'left').take).toBeUndefined();
    expect(renamed(source, (name) => name).take).toBeUndefined();
  });
});
