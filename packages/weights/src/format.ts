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
  if (head[0] === 0x80 && head[1]! <= 5) return 'torch';
  if (text[8] === '{') return 'safetensors';
  return undefined;
}
