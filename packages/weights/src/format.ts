/** Formats of weight files. */
export type WeightFormat = 'safetensors' | 'torch' | 'gguf' | 'npz' | 'npy';

/** Bytes that `formatOf` looks at. */
export const FORMAT_BYTES = 128;

/**
 * What a file is by its first bytes; undefined when it is none of ours. A zip archive is NumPy's when its first entry is
 * an array, else torch's.
 */
export function formatOf(head: Uint8Array): WeightFormat | undefined {
  const text = new TextDecoder('latin1').decode(head);
  if (text.startsWith('PK\x03\x04')) return /^.{30}[^/]*\.npy/s.test(text) ? 'npz' : 'torch';
  if (text.startsWith('PK\x05\x06')) return 'npz';
  if (text.startsWith('\x93NUMPY')) return 'npy';
  if (text.startsWith('GGUF')) return 'gguf';
  // A header of 128, 384, ... 1408 bytes begins as a pickle does, but no pickle goes on with zeros: the lengths of all headers
  // that are read have four of them.
  const isLength = head.subarray(4, 8).every((byte) => byte === 0);
  if (text[8] === '{' && (isLength || head[0] !== 0x80)) return 'safetensors';
  if (head[0] === 0x80 && head[1]! <= 5) return 'torch';
  return undefined;
}
