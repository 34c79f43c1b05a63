import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { type HostTensor, InvalidFileError } from '@mezzotint/core';
import { bytesSource, openTorch } from '@mezzotint/weights';
import { readTorch } from '@mezzotint/weights/node';
import { describe, expect, test } from 'vitest';

// Files written by torch 2.13 (fixtures/make.py). Every value is a multiple of 1/4 that all float types but float8 hold
// exactly, and float8 does too up to 1.75: equality is exact.
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/torch/${name}`, import.meta.url));
const value = (k: number) => (k - 3) / 4;
const floats = (...ks: number[]) => Float32Array.from(ks, value);
const range = (n: number) => Array.from({ length: n }, (_, k) => k);

describe.each(['dtypes.pt', 'dtypes-legacy.pt'])('%s', (name) => {
  test('every element type is widened exactly', async () => {
    const file = await readTorch(fixture(name));
    for (const type of ['float64', 'float32', 'float16', 'bfloat16', 'float8_e4m3fn', 'float8_e5m2']) {
      if (type.startsWith('float8') && name.includes('legacy')) continue; // That format has no float8.
      expect(await file.read(type), type).toEqual({ shape: [2, 3], data: floats(0, 1, 2, 3, 4, 5) });
    }
    expect((await file.read('int64')).data).toEqual(Int32Array.of(-(2 ** 31), 2 ** 31 - 1));
    for (const type of ['int32', 'int16', 'int8']) expect((await file.read(type)).data).toEqual(Int32Array.of(-5, 7));
    expect((await file.read('uint8')).data).toEqual(Int32Array.of(5, 255));
    expect((await file.read('bool')).data).toEqual(Int32Array.of(1, 0));
    expect(file.refused).toEqual([]);
    expect(file.tensors.size).toBe(name.includes('legacy') ? 10 : 12);
    file.close();
  });
});

describe.each(['views.pt', 'views-legacy.pt'])('%s', (name) => {
  test('offsets, strides, expanded and empty tensors', async () => {
    const file = await readTorch(fixture(name));
    const at = (row: number, column: number) => 6 * row + column;
    const expected: Record<string, HostTensor> = {
      whole: { shape: [4, 6], data: floats(...range(24)) },
      transposed: { shape: [6, 4], data: floats(...range(24).map((k) => at(k % 4, Math.floor(k / 4)))) },
      row: { shape: [6], data: floats(...range(6).map((c) => at(2, c))) },
      column: { shape: [4], data: floats(...range(4).map((r) => at(r, 1))) },
      steps: { shape: [2, 2], data: floats(at(1, 0), at(1, 3), at(3, 0), at(3, 3)) },
      block: { shape: [2, 3], data: floats(at(1, 2), at(1, 3), at(1, 4), at(2, 2), at(2, 3), at(2, 4)) },
      // p[i][j][k] = t[j][k][i] of t [2, 3, 4].
      permuted: { shape: [4, 2, 3], data: floats(...range(24).map((n) => 4 * (n % 6) + Math.floor(n / 6))) },
      expanded: { shape: [3, 5], data: floats(...range(15).map((k) => Math.floor(k / 5))) },
      scalar: { shape: [], data: Float32Array.of(0.25) },
      empty: { shape: [0, 3], data: new Float32Array(0) },
      parameter: { shape: [2, 2], data: floats(0, 1, 2, 3) },
    };
    expect([...file.tensors.keys()]).toEqual(Object.keys(expected));
    for (const [key, tensor] of Object.entries(expected)) expect(await file.read(key), key).toEqual(tensor);
    file.close();
  });
});

test("the published DiT's file format: every tensor has the bytes of its safetensors twin", async () => {
  const golden = (name: string) => fileURLToPath(new URL(`fixtures/golden/${name}`, import.meta.url));
  const twin = JSON.parse(readFileSync(golden('dit-original.json'), 'utf8')) as {
    tensors: Record<string, { shape: number[]; crc32: number }>;
  };
  const file = await readTorch(golden('dit-original.pt'));
  expect([...file.tensors.keys()].sort()).toEqual(Object.keys(twin.tensors));
  for (const [name, { shape, crc32: expected }] of Object.entries(twin.tensors)) {
    const tensor = await file.read(name);
    expect(tensor.shape).toEqual(shape);
    expect(crc32(Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength)), name).toBe(expected);
  }
  file.close();
});

describe('checkpoints', () => {
  test('averaged weights are preferred, every part can be had', async () => {
    const ema = await readTorch(fixture('training.pt'));
    expect(ema).toMatchObject({ part: 'ema', parts: ['model', 'ema', 'opt'], refused: ['argparse.Namespace'] });
    expect((await ema.read('layer.bias')).data).toEqual(floats(0, 1).map((x) => 2 * x));
    const model = await readTorch(fixture('training.pt'), { part: 'model' });
    expect((await model.read('layer.bias')).data).toEqual(floats(0, 1));
    const all = await readTorch(fixture('training.pt'), { part: '' });
    expect([...all.tensors.keys()]).toContain('opt.state.0.exp_avg');
    await expect(readTorch(fixture('training.pt'), { part: 'none' })).rejects.toThrow('it has: model, ema, opt');
  });

  test('names of modules around the model, of training on several devices or torch.compile, are left out', async () => {
    const ema = await readTorch(fixture('wrapped.pt'));
    expect(ema.part).toBe('ema');
    expect([...ema.tensors.keys()]).toEqual(['layer.weight', 'layer.bias']);
    expect((await ema.read('layer.bias')).data).toEqual(floats(0, 1).map((x) => 2 * x));
    const chosen = await readTorch(fixture('wrapped.pt'), { part: 'ema' });
    expect([...chosen.tensors.keys()]).toEqual(['layer.weight', 'layer.bias']);
    // Where not all are inside, and where all was asked for, names are the file's.
    const all = await readTorch(fixture('wrapped.pt'), { part: '' });
    expect([...all.tensors.keys()]).toContain('ema.module._orig_mod.layer.bias');
    const legacy = await readTorch(fixture('module-legacy.pt'), { part: '' });
    expect([...legacy.tensors.keys()]).toEqual(['model.weight', 'x']);
  });

  test('a hostile pickle is read, listed, and not executed', async () => {
    const file = await readTorch(fixture('hostile.ckpt'));
    expect(file.part).toBe('state_dict');
    expect((await file.read('layer.weight')).data).toEqual(floats(0, 1, 2, 3));
    expect(file.refused).toEqual([expect.stringMatching(/\.exec$/)]);
    expect(existsSync('executed')).toBe(false);
  });

  test('a whole module in a plain pickle, with its storages inside', async () => {
    const file = await readTorch(fixture('module.pkl'));
    expect([...file.tensors.keys()]).toEqual([
      '0.weight',
      '0.bias',
      '1.weight',
      '1.bias',
      '1.running_mean',
      '1.running_var',
      '1.num_batches_tracked',
    ]);
    expect(await file.read('0.weight')).toEqual({ shape: [2, 3], data: floats(0, 1, 2, 3, 4, 5) });
    expect((await file.read('1.running_var')).data).toEqual(Float32Array.of(1, 1));
    expect(file.refused).toContain('torch.nn.modules.linear.Linear');
  });
});

test('a legacy file of a module and a quantised tensor: the latter is refused, the others are read', async () => {
  const file = await readTorch(fixture('module-legacy.pt'), { part: '' });
  expect([...file.tensors.keys()]).toEqual(['model.weight', 'x']);
  expect(await file.read('model.weight')).toEqual({ shape: [2, 2], data: floats(0, 1, 2, 3) });
  expect(await file.read('x')).toEqual({ shape: [2], data: floats(0, 1) });
  expect(file.refused).toContain('torch._utils._rebuild_qtensor');
});

test("a network of EDM's kind, whose pickle carries source code", async () => {
  const file = await readTorch(fixture('persistent.pkl'));
  expect(file.part).toBe('ema');
  expect([...file.tensors.keys()]).toEqual(['gain', 'model.weight', 'model.freqs']);
  expect(await file.read('model.weight')).toEqual({ shape: [2, 2], data: floats(0, 1, 2, 3) });
  expect(file.refused).toEqual(
    expect.arrayContaining(['torch_utils.persistence._reconstruct_persistent_obj', 'dnnlib.util.EasyDict']),
  );
});

test('a snapshot of EDM2: its weights, and how its modules were constructed', async () => {
  const file = await readTorch(fixture('edm2-img8-tiny-0000020-0.100.pkl'));
  expect(file.part).toBe('ema');
  expect(file.tensors.size).toBe(63);
  expect(file.tensors.get('unet.enc.8x8_conv.weight')).toEqual({ shape: [4, 5, 3, 3], dtype: 'F16' });
  expect((await file.read('unet.out_gain')).data[0]).toBeCloseTo(0.7, 3);
  expect(file.modules.get('ema')).toEqual({
    className: 'Precond',
    args: [],
    kwargs: {
      ...{ img_resolution: 8, img_channels: 4, label_dim: 3, use_fp16: true, sigma_data: 0.5, logvar_channels: 8 },
      ...{ model_channels: 4, channel_mult: [1, 2], num_blocks: 1, attn_resolutions: [4], channels_per_head: 4 },
    },
  });
  expect(file.modules.get('encoder')?.kwargs).toEqual({ vae_name: 'stabilityai/sd-vae-ft-mse' });
  expect([...file.modules.keys()]).toEqual(['encoder', 'loss_fn', 'ema']);
  // The source text that stands in the records is nowhere in what is given.
  expect(JSON.stringify([...file.modules])).not.toContain('source text');
});

describe('damage', () => {
  test('a flipped bit in a storage fails its checksum, unless checksums are off', async () => {
    const bytes = new Uint8Array(readFileSync(fixture('views.pt')));
    const at = Buffer.from(bytes).indexOf(Buffer.from(floats(...range(24)).buffer));
    bytes[at]! ^= 1;
    await expect((await openTorch(bytesSource(bytes))).read('whole')).rejects.toThrow('checksum');
    const lax = await openTorch(bytesSource(bytes), { checksums: false });
    expect((await lax.read('whole')).data[0]).not.toBe(value(0));
  });

  test('a file saved with checksums off says how to open it', async () => {
    await expect(readTorch(fixture('no-checksums.pt'))).rejects.toThrow('{ checksums: false }');
    const file = await readTorch(fixture('no-checksums.pt'), { checksums: false });
    expect((await file.read('layer.bias')).data).toEqual(floats(0, 1));
  });

  test.each(['views.pt', 'views-legacy.pt'])('every truncation of %s is an error', async (name) => {
    const bytes = new Uint8Array(readFileSync(fixture(name)));
    for (let length = 0; length < bytes.length; length += 7) {
      const cut = bytes.subarray(0, length);
      const read = async () => {
        const file = await openTorch(bytesSource(cut));
        for (const key of file.tensors.keys()) await file.read(key);
      };
      await expect(read(), `${length} bytes`).rejects.toThrow(InvalidFileError);
    }
  });

  test('a view that leaves its storage, or repeats it beyond measure, is refused before memory is asked for', async () => {
    const edit = async (from: string, to: string) => {
      const text = readFileSync(fixture('views-legacy.pt')).toString('latin1');
      expect(text.split(from).length).toBe(2);
      return openTorch(bytesSource(Buffer.from(text.replace(from, to), 'latin1')));
    };
    // Shape (3, 5) as BININT1, BININT1, TUPLE2; then its strides (1, 0).
    const outside = await edit('K\x03K\x05\x86q', 'K\x04K\x05\x86q');
    await expect(outside.read('expanded')).rejects.toThrow('its view ends at element 3 of a storage of 3');
    const bomb = await edit('K\x03K\x05\x86q', 'K\x03J\xff\xff\xff\x7f\x86q');
    expect(bomb.tensors.get('expanded')?.shape).toEqual([3, 2 ** 31 - 1]);
    await expect(bomb.read('expanded')).rejects.toThrow('it repeats 3 elements');
  });

  test.each([
    ['neither zip nor pickle', 'hello world', 'neither a zip archive nor a pickle'],
    ['an opcode that imports by extension code', '\x80\x02\x82\x01.', 'the instruction 0x82 is not on the list'],
    ['an empty stack', '\x80\x020.', 'takes from an empty stack'],
    ['a memo entry that was never kept', '\x80\x02h\x07.', 'which it never kept'],
    ['a text longer than the file', '\x80\x02X\xff\xff\xff\x7fa.', 'ends in the middle'],
    ['no tensors', '\x80\x02K\x01.', 'holds no tensors'],
    ['a call of a number', '\x80\x02K\x01)R.', 'names nothing that can be called'],
    ['deep nesting', `\x80\x02${'('.repeat(5000)}${'l'.repeat(5000)}.`, 'nested deeper than 100'],
  ])('%s', async (_, text, problem) => {
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    await expect(openTorch(bytesSource(bytes, 'x.pt'))).rejects.toThrow(problem);
  });

  test('a small pickle that refers to itself over and over is stopped', async () => {
    // l = [[]]; 40 times l = [l, l], the old ones left on the stack: 2^40 paths to the last.
    const at = String.fromCharCode;
    const steps = range(40).map((k) => `](h${at(k)}h${at(k)}eq${at(k + 1)}`);
    const text = `\x80\x02(]q\x00${steps.join('')}t.`;
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    await expect(openTorch(bytesSource(bytes))).rejects.toThrow(InvalidFileError);
  });
});
