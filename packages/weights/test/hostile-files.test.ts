import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import { InvalidFileError, readingBudget } from '@mezzotint/core';
import {
  bytesSource,
  encodeNpy,
  formatOf,
  mergeLora,
  openGguf,
  openNpz,
  openSafetensorsSync,
  openTorch,
  parseShardIndex,
} from '@mezzotint/weights';
import {
  findWeights,
  readJson,
  readPipelineFolder,
  readText,
  readWeights,
  writeSafetensors,
} from '@mezzotint/weights/node';
import { afterAll, describe, expect, test } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'mezzotint hostile ü-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (name: string) => join(root, name);

/** The message of the InvalidFileError that this must give. */
async function refusal(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    expect(InvalidFileError.isInstance(error), String(error)).toBe(true);
    return (error as Error).message;
  }
  return 'was read';
}

/** A safetensors file with this text as its header and so many bytes of data. */
function safetensors(header: string, data = 0): Uint8Array {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(data)]);
}

interface Packed {
  readonly name: string;
  readonly raw: Uint8Array;
  readonly size: number;
  readonly crc: number;
  readonly method: 0 | 8;
}

const packed = (name: string, bytes: Uint8Array, { size = bytes.length, pack = true } = {}): Packed => ({
  ...{ name, size, crc: crc32(bytes), method: pack ? 8 : 0 },
  raw: pack ? deflateRawSync(bytes) : bytes,
});

/** A zip archive; entries of `also` get names of their own for the bytes of the first entry. */
function zip(entries: readonly Packed[], also: readonly string[] = []): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  const list = (name: string, { method, crc, raw, size }: Packed, offset: number) => {
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(crc, 16);
    entry.writeUInt32LE(raw.length, 20);
    entry.writeUInt32LE(size, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    directory.push(entry, Buffer.from(name));
  };
  let offset = 0;
  for (const entry of entries) {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(entry.name.length, 26);
    parts.push(local, Buffer.from(entry.name), Buffer.from(entry.raw));
    list(entry.name, entry, offset);
    offset += 30 + entry.name.length + entry.raw.length;
  }
  for (const name of also) list(name, entries[0]!, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length + also.length, 10);
  end.writeUInt32LE(
    directory.reduce((sum, part) => sum + part.length, 0),
    12,
  );
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

const open = (bytes: Uint8Array) => openSafetensorsSync(bytesSource(bytes));

describe('safetensors', () => {
  test('a header of any length is told from a pickle: 128, 384, ... 1408 begin as one', async () => {
    for (let length = 120; length <= 1600; length += 8) {
      const header = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.padEnd(length);
      const bytes = safetensors(header, 4);
      expect(formatOf(bytes), String(length)).toBe('safetensors');
    }
    // Our own writer makes such files.
    const name = 'x'.repeat(128 - '{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.length);
    await writeSafetensors(at('128.safetensors'), { [name]: { shape: [1], data: Float32Array.of(7) } });
    expect(readFileSync(at('128.safetensors')).readUInt16LE(0)).toBe(128);
    const file = await readWeights(at('128.safetensors'));
    expect((await file.read(name)).data).toEqual(Float32Array.of(7));
    file.close();
    for (const start of ['torch/dtypes.pt', 'torch/dtypes-legacy.pt', 'torch/module.pkl']) {
      const bytes = readFileSync(fileURLToPath(new URL(`fixtures/${start}`, import.meta.url)));
      expect(formatOf(bytes)).toBe('torch');
    }
  });

  test('"__metadata__": null is none, as in the reference', () => {
    const header = '{"__metadata__":null,"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    const file = open(safetensors(header, 4));
    expect([[...file.metadata], [...file.tensors.keys()]]).toEqual([[], ['w']]);
  });

  test('headers beyond the budget are refused before they cost memory', async () => {
    expect(await refusal(() => open(safetensors(' '.repeat(60_000_000))))).toMatch(/claims 60000000 bytes; at most/);
    const many = `{${Array.from({ length: 400_000 }, (_, i) => `"${i}":{"dtype":"F32","shape":[],"data_offsets":[0,4]}`)}}`;
    expect(await refusal(() => open(safetensors(many)))).toMatch(/more than 2097152 values/);
    const empty = `{${Array.from({ length: 300_000 }, (_, i) => `"${i}":{}`)}}`;
    expect(await refusal(() => open(safetensors(empty)))).toMatch(/holds 300000 tensors; at most 262144/);
    const axes = `{"w":{"dtype":"F32","shape":[${Array(65).fill(1)}],"data_offsets":[0,4]}}`;
    expect(await refusal(() => open(safetensors(axes, 4)))).toMatch(/the shape .* is not a list of whole numbers/);
  });

  test('names cannot write to the terminal, and are cut', async () => {
    const evil = JSON.stringify('\u001b[2J\nweights: all is well');
    const message = await refusal(() => open(safetensors(`{${evil}:{}}`)));
    expect(message).toContain('"\\u001b[2J\\nweights: all is well"');
    const names = Array.from({ length: 5 }, (_, i) => `"${String(i).repeat(300_000)}":{}`);
    expect((await refusal(() => open(safetensors(`{${names}}`)))).length).toBeLessThan(5000);
  });
});

describe('zip archives', () => {
  const array = encodeNpy({ shape: [4], data: Float64Array.of(1, 2, 3, 4) });

  test('names that point at the same bytes are refused', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `a${i}.npy`);
    expect(await refusal(() => openNpz(bytesSource(zip([packed('a.npy', array)], names))))).toMatch(
      /overlaps the entry before it/,
    );
    const two = await openNpz(bytesSource(zip([packed('a.npy', array), packed('b.npy', array, { pack: false })])));
    expect([...two.tensors.keys()]).toEqual(['a', 'b']);
  });

  test('a size that is claimed is not allocated', async () => {
    // 8 GB would be within what deflate can do with 9 MB.
    const data = deflateRawSync(Buffer.alloc(64));
    const lie = {
      name: 'x/data.pkl',
      raw: Buffer.concat([data, Buffer.alloc(9e6)]),
      size: 4e9,
      crc: 0,
      method: 8 as const,
    };
    expect(await refusal(() => openTorch(bytesSource(zip([lie]))))).toMatch(/its pickle claims 4000000000 bytes/);
    const big = { ...lie, name: 'a.npy', size: 2e9 };
    expect(await refusal(() => openNpz(bytesSource(zip([big]))))).toMatch(/not an \.npy array|header/);
  });

  test('a pickle that unpacks to 190 MB of instructions is refused by its size', async () => {
    const bomb = packed('x/data.pkl', Buffer.alloc(190_000_000, 0x4e));
    expect(bomb.raw.length).toBeLessThan(200_000);
    expect(await refusal(() => openTorch(bytesSource(zip([bomb]))))).toMatch(
      /its pickle claims 190000000 bytes; at most/,
    );
  });

  test('a packed array beyond the budget is refused when it is read, before it is unpacked', async () => {
    const head = Buffer.from(encodeNpy({ shape: [1], data: Uint8Array.of(1) }));
    const count = readingBudget.unpackedBytes;
    const text = head.toString('latin1').replace('(1,)', `(${count},)`).replace(/ +\n/, '\n');
    const header = Buffer.from(text.slice(0, text.indexOf('\n') + 1), 'latin1');
    header.writeUInt16LE(header.length - 10, 8);
    const entry = { ...packed('a.npy', Buffer.concat([header, Buffer.alloc(2e6)])), size: count + header.length };
    // Enough packed bytes that deflate could do it.
    const raw = Buffer.concat([entry.raw, Buffer.alloc(1_100_000)]);
    const file = await openNpz(bytesSource(zip([{ ...entry, raw }])));
    expect(file.tensors.get('a')!.shape).toEqual([count]);
    expect(await refusal(() => file.read('a'))).toMatch(/claims to unpack to \d+ bytes; at most 1073741824/);
  });
});

test('a GGUF header that claims millions of tensors is refused by the number', async () => {
  const head = Buffer.alloc(24);
  head.write('GGUF');
  head.writeUInt32LE(3, 4);
  head.writeBigUInt64LE(1_000_000n, 8);
  const file = Buffer.concat([head, Buffer.alloc(30_000_000)]);
  expect(await refusal(() => openGguf(bytesSource(file)))).toMatch(/claims 1000000 tensors; at most/);
});

test('a shard index of thousands of files is refused', async () => {
  const map = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`t${i}`, `s${i}.safetensors`]));
  const text = JSON.stringify({ weight_map: map });
  expect(await refusal(() => parseShardIndex('index.json', text))).toMatch(/names 2000 files; at most 1024/);
});

describe('files and folders', () => {
  test('a text of escapes without an end takes no time', async () => {
    writeFileSync(at('escapes.json'), `{"a":"${'\\"'.repeat(1e6)}`);
    expect(await refusal(() => readJson(at('escapes.json')))).toMatch(/is not JSON/);
    writeFileSync(at('deep.json'), '['.repeat(20_000) + ']'.repeat(20_000));
    expect(await refusal(() => readJson(at('deep.json')))).toMatch(/nested deeper than 64/);
    writeFileSync(at('numbers.json'), '{"lambda_min_clipped": -Infinity, "x": [NaN, "NaN", Infinity, -5]}');
    expect(readJson(at('numbers.json'))).toEqual({ lambda_min_clipped: null, x: [null, 'NaN', null, -5] });
  });

  test('a file of gigabytes is refused by its size', async () => {
    writeFileSync(at('sparse.json'), '{');
    truncateSync(at('sparse.json'), 3e9);
    const before = process.memoryUsage().rss;
    expect(await refusal(() => readText(at('sparse.json')))).toMatch(/has 3000000000 bytes, expected at most 33554432/);
    mkdirSync(at('pipeline'));
    symlinkSync(at('sparse.json'), at('pipeline/model_index.json'));
    expect(await refusal(() => readPipelineFolder(at('pipeline')))).toMatch(/has 3000000000 bytes/);
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });

  test.skipIf(process.platform === 'win32')('FIFOs, devices and circles of links are named', async () => {
    mkdirSync(at('unet'));
    execFileSync('mkfifo', [at('unet/model.safetensors')]);
    expect(await refusal(() => readWeights(at('unet')))).toMatch(/model\.safetensors: is a FIFO/);
    symlinkSync('/dev/zero', at('zero.safetensors'));
    expect(await refusal(() => readWeights(at('zero.safetensors')))).toMatch(/is a device/);
    symlinkSync(at('loop'), at('loop'));
    expect(await refusal(() => readWeights(at('loop')))).toMatch(/link that leads back to itself/);
    expect(await refusal(() => readWeights(at('n'.repeat(300))))).toMatch(/the name is too long/);
    expect(await refusal(() => readText(at('nowhere')))).toMatch(/no such file/);
    expect(findWeights(at('unet'))).toBe(at('unet/model.safetensors'));
  });
});

describe('LoRA files', () => {
  const model = {
    name: 'unet',
    tensors: new Map([['a.to_q.weight', { shape: [2, 2], dtype: 'F32' }]]),
    read: () => ({ shape: [2, 2], data: Float32Array.of(1, 0, 0, 1) }),
  };
  const lora = (tensors: Record<string, { shape: number[]; data: Float32Array }>) => ({
    name: 'style.safetensors',
    tensors: new Map(Object.entries(tensors).map(([name, { shape }]) => [name, { shape, dtype: 'F32' }])),
    read: (name: string) => tensors[name]!,
  });
  const down = { shape: [1, 2], data: Float32Array.of(2, 3) };
  const up = { shape: [2, 1], data: Float32Array.of(1, 10) };
  const merged = async (tensors: Parameters<typeof lora>[0], scale = 1) => [
    ...(await (await mergeLora({ denoiser: model }, lora(tensors), { scale })).denoiser.read('a.to_q.weight')).data,
  ];

  test.each(['.default', '.default_0', '.my-style', ''])(
    "an adapter's name in a key is passed over: '%s'",
    async (adapter) => {
      const tensors = { [`unet.a.to_q.lora_A${adapter}.weight`]: down, [`unet.a.to_q.lora_B${adapter}.weight`]: up };
      expect(await merged(tensors)).toEqual([3, 3, 20, 31]);
    },
  );

  test('halves of two adapters are not a pair', async () => {
    const tensors = { 'unet.a.to_q.lora_A.x.weight': down, 'unet.a.to_q.lora_B.y.weight': up };
    await expect(merged(tensors)).rejects.toThrow(/\(adapter x\): has no up.*\(adapter y\): has no down/);
    const both = { ...tensors, 'unet.a.to_q.lora_B.x.weight': up, 'unet.a.to_q.lora_A.y.weight': down };
    await expect(merged(both)).rejects.toThrow(/two layers change a\.to_q\.weight/);
  });

  test('an alpha of more than one number, and numbers that are not finite, are refused by name', async () => {
    const named = { 'unet.a.to_q.lora_down.weight': down, 'unet.a.to_q.lora_up.weight': up };
    const vector = { ...named, 'unet.a.to_q.alpha': { shape: [3], data: Float32Array.of(1, 2, 3) } };
    await expect(merged(vector)).rejects.toThrow(/a\.to_q has an alpha of shape \[3\], expected one number/);
    const one = { ...named, 'unet.a.to_q.alpha': { shape: [1], data: Float32Array.of(2) } };
    expect(await merged(one)).toEqual([5, 6, 40, 61]);
    const nan = { ...named, 'unet.a.to_q.lora_up.weight': { shape: [2, 1], data: Float32Array.of(1, Number.NaN) } };
    expect(await refusal(() => merged(nan))).toBe(
      'style.safetensors: unet.a.to_q.lora_up.weight: 1 of 2 numbers is not finite; number 1 is NaN',
    );
    expect(await refusal(() => merged(named, 1e38))).toMatch(
      /a\.to_q: .* in the weight after it is merged at scale 1e\+38/,
    );
  });
});
