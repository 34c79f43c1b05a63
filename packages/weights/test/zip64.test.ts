import { crc32 } from 'node:zlib';
import { type ByteSource, openTorch } from '@mezzotint/weights';
import { expect, test } from 'vitest';

/**
 * A torch file of 9 GB in ZIP64 form that exists only as far as it is read: its storage is zeros but for the last two, and 32-bit fields
 * are all ones wherever ZIP64 has its own.
 */
function hugeFile(): { source: ByteSource; largestRead: () => number } {
  const elements = 9 * 2 ** 28; // float32: 9 GiB
  const pickle = Buffer.from(
    // {'w': _rebuild_tensor_v2(('storage', FloatStorage, '0', 'cpu', elements), elements - 2, (2,), (1,), False, {})}
    [
      '\x80\x02}X\x01\x00\x00\x00w',
      'ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu',
      long(elements),
      'tQ',
      long(elements - 2),
      'K\x02\x85K\x01\x85\x89}tRs.',
    ].join(''),
    'latin1',
  );
  const parts: { at: number; bytes: Buffer }[] = [];
  let at = 0;
  const append = (bytes: Buffer) => {
    parts.push({ at, bytes });
    at += bytes.length;
  };
  const entries: Buffer[] = [];
  const file = (name: string, size: number, crc: number, end: Buffer) => {
    const headerOffset = at;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt32LE(0xffffffff, 18);
    local.writeUInt32LE(0xffffffff, 22);
    local.writeUInt16LE(name.length, 26);
    append(Buffer.concat([local, Buffer.from(name)]));
    at += size - end.length; // What comes before is zeros.
    append(end);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt32LE(crc, 16);
    entry.fill(0xff, 20, 28);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt16LE(28, 30);
    entry.fill(0xff, 42, 46);
    const extra = Buffer.alloc(28);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    for (const [i, value] of [size, size, headerOffset].entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
    entries.push(Buffer.concat([entry, Buffer.from(name), extra]));
  };
  file('x/data/0', elements * 4, 0, Buffer.from(Float32Array.of(1.5, -2).buffer));
  file('x/data.pkl', pickle.length, crc32(pickle), pickle);
  const start = at;
  append(Buffer.concat(entries));
  const directorySize = at - start;
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  for (const [i, value] of [2, 2, directorySize, start].entries()) end64.writeBigUInt64LE(BigInt(value), 24 + 8 * i);
  const end64At = at;
  append(end64);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(end64At), 8);
  append(locator);
  const end = Buffer.alloc(22, 0xff);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(0, 20);
  append(end);

  let largest = 0;
  const read = (offset: number, length: number) => {
    largest = Math.max(largest, length);
    const out = new Uint8Array(length);
    for (const { at: begin, bytes } of parts) {
      const from = Math.max(offset, begin);
      const to = Math.min(offset + length, begin + bytes.length);
      if (from < to) out.set(bytes.subarray(from - begin, to - begin), from - offset);
    }
    return out;
  };
  return { source: { name: 'huge.pt', size: at, read }, largestRead: () => largest };
}

/** LONG1 of an integer below 2^63. */
function long(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return `\x8a\x08${bytes.toString('latin1')}`;
}

test('a 9 GB ZIP64 file with a 9 GB storage is read by the range that a view needs', async () => {
  const { source, largestRead } = hugeFile();
  const file = await openTorch(source);
  expect(await file.read('w')).toEqual({ shape: [2], data: Float32Array.of(1.5, -2) });
  // The end record's search window is the largest read; nothing of the storage but two elements.
  expect(largestRead()).toBeLessThan(70_000);
});
