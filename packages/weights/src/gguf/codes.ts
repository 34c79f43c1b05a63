import type { BlockTensor } from '@mezzotint/core';

/** Codes and scales of a matrix apart from each other, as engines multiply with them. */
type Codes = Pick<BlockTensor, 'data' | 'scales'>;

/** Weights of a block. */
const BLOCK = 32;

/** Q4_0: two bytes of scale and 16 of codes, elements 0 to 15 in the low halves; here two neighbours share a byte. */
export function codesOfQ4(bytes: Uint8Array): Codes {
  const blocks = bytes.byteLength / 18;
  const data = new Uint8Array((blocks * BLOCK) / 2);
  const scales = new Uint16Array(blocks);
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 18, to += 16) {
    scales[block] = bytes[at]! | (bytes[at + 1]! << 8);
    for (let i = 0; i < 8; i++) {
      const [first, second] = [bytes[at + 2 + 2 * i]!, bytes[at + 3 + 2 * i]!];
      data[to + i] = (first & 15) | ((second & 15) << 4);
      data[to + i + 8] = (first >> 4) | (second & 0xf0);
    }
  }
  return { data, scales };
}

/** Q8_0: two bytes of scale and 32 signed codes, which count from 128 here. */
export function codesOfQ8(bytes: Uint8Array): Codes {
  const blocks = bytes.byteLength / 34;
  const data = new Uint8Array(blocks * BLOCK);
  const scales = new Uint16Array(blocks);
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 34, to += BLOCK) {
    scales[block] = bytes[at]! | (bytes[at + 1]! << 8);
    for (let i = 0; i < BLOCK; i++) data[to + i] = bytes[at + 2 + i]! ^ 0x80;
  }
  return { data, scales };
}
