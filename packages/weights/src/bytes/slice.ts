import { type ByteSource, checkRange } from './byte-source.js';

/** A part of a byte source as a source of its own. */
export function sliceSource(source: ByteSource, start: number, size: number, name = source.name): ByteSource {
  checkRange(source.name, source.size, start, size);
  return {
    name,
    size,
    read: (offset, length) => {
      checkRange(name, size, offset, length);
      return source.read(start + offset, length);
    },
  };
}
