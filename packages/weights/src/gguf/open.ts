import {
  type HostTensor,
  InvalidFileError,
  type KeptType,
  named,
  notFinite,
  readingBudget,
  type StoredTensor,
} from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { widen } from '../numbers/widen.js';
import type { WeightFile } from '../weight-file.js';
import { codesOfQ4, codesOfQ8 } from './codes.js';
import { dequantizeBlocks } from './dequantize.js';
import { type GgufEntry, type GgufHeader, type GgufList, HeaderIsLonger, parseGgufHeader } from './header.js';
import { isGgufBlockType } from './types.js';

/** A GGUF file with the lists of its vocabulary, `tokenizer.ggml.*`, where it has one. */
export interface GgufFile extends WeightFile {
  readonly lists: ReadonlyMap<string, GgufList>;
}

/** Bytes that are read first; longer headers are read again with eight times as many. */
const FIRST_BYTES = 2 ** 16;

/**
 * Opens a GGUF file: reads and checks the header; tensors are read one at a time when asked for, widened to float32 or
 * int32. Shapes are in the order of PyTorch (outermost axis first); tensors that ComfyUI-GGUF stored reshaped have the
 * shape they were made with. Throws an InvalidFileError when the file is not what it claims or holds types that are not
 * read.
 */
export async function openGguf(source: ByteSource & { close?(): void }): Promise<GgufFile> {
  const { tensors, metadata, lists } = await readHeader(source);
  const bytesOf = async (name: string) => {
    const entry = tensors.get(name);
    if (entry === undefined) throw new InvalidFileError(source.name, `holds no tensor named ${JSON.stringify(name)}`);
    return { entry, bytes: await source.read(entry.begin, entry.end - entry.begin) };
  };
  const decode = (name: string, { shape, dtype }: GgufEntry, bytes: Uint8Array<ArrayBuffer>): HostTensor => {
    if (isGgufBlockType(dtype)) return { shape, data: dequantizeBlocks(bytes, dtype) };
    try {
      return { shape, data: widen(bytes, dtype) };
    } catch (cause) {
      throw new InvalidFileError(source.name, `${name}: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause,
      });
    }
  };
  return {
    name: source.name,
    tensors,
    metadata,
    lists,
    read: async (name) => {
      const { entry, bytes } = await bytesOf(name);
      return decode(name, entry, bytes);
    },
    take: async (name, keep: readonly KeptType[] = []): Promise<StoredTensor> => {
      const { entry, bytes } = await bytesOf(name);
      const { dtype, shape } = entry;
      const kept = dtype === 'Q4_0' ? 'q4_0' : dtype === 'Q8_0' ? 'q8_0' : undefined;
      if (kept !== undefined && keep.includes(kept) && shape.length === 2) {
        const codes = kept === 'q4_0' ? codesOfQ4(bytes) : codesOfQ8(bytes);
        // Numbers are looked at where they are loaded; of blocks, only their reader knows the scales.
        const problem = notFinite({ data: codes.scales, dtype: 'float16' });
        if (problem !== undefined) throw new InvalidFileError(source.name, `${named(name)}: of the scales, ${problem}`);
        return { shape, dtype: kept, ...codes };
      }
      const half = entry.dtype === 'F16' ? 'float16' : entry.dtype === 'BF16' ? 'bfloat16' : undefined;
      if (half !== undefined && keep.includes(half)) {
        return { shape: entry.shape, dtype: half, data: new Uint16Array(bytes.buffer, 0, bytes.byteLength / 2) };
      }
      const { data } = decode(name, entry, bytes);
      return data instanceof Int32Array ? { shape, data, dtype: 'int32' } : { shape, data, dtype: 'float32' };
    },
    close: () => source.close?.(),
  };
}

async function readHeader(source: ByteSource): Promise<GgufHeader> {
  for (let length = FIRST_BYTES; ; length *= 8) {
    const whole = Math.min(length, source.size, readingBudget.headerBytes);
    const bytes = await source.read(0, whole);
    try {
      return parseGgufHeader(source.name, source.size, bytes);
    } catch (error) {
      if (!(error instanceof HeaderIsLonger)) throw error;
      if (whole < length) throw new InvalidFileError(source.name, `the GGUF header is longer than ${whole} bytes`);
    }
  }
}
