import { InvalidFileError } from '@mezzotint/core';

/**
 * Unpacks a raw deflate stream (RFC 1951) of a known unpacked size, with the platform's `DecompressionStream`; stops as
 * soon as more comes out. Throws an InvalidFileError when the stream is damaged or of another size.
 */
export async function inflate(
  file: string,
  packed: Uint8Array<ArrayBuffer>,
  size: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // Memory grows with what comes out, not with what is claimed.
  let out = new Uint8Array(Math.min(size, Math.max(2 ** 16, 4 * packed.byteLength)));
  let done = 0;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (done + part.value.byteLength > size)
        throw new InvalidFileError(file, `unpacks to more than the ${size} bytes it claims`);
      if (done + part.value.byteLength > out.byteLength) {
        const longer = new Uint8Array(Math.min(size, Math.max(2 * out.byteLength, done + part.value.byteLength)));
        longer.set(out.subarray(0, done));
        out = longer;
      }
      out.set(part.value, done);
      done += part.value.byteLength;
    }
  } catch (cause) {
    await reader.cancel().catch(() => undefined);
    if (InvalidFileError.isInstance(cause)) throw cause;
    throw new InvalidFileError(file, 'holds a damaged deflate stream', { cause });
  }
  if (done !== size) throw new InvalidFileError(file, `unpacks to ${done} bytes, claims ${size}`);
  return out;
}

/** The first `length` bytes that a raw deflate stream unpacks to, or all where it has fewer. */
export async function inflateHead(
  file: string,
  packed: Uint8Array<ArrayBuffer>,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const out = new Uint8Array(length);
  let done = 0;
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (let part = await reader.read(); !part.done && done < length; part = await reader.read()) {
      const wanted = part.value.subarray(0, length - done);
      out.set(wanted, done);
      done += wanted.byteLength;
    }
  } catch (cause) {
    throw new InvalidFileError(file, 'holds a damaged deflate stream', { cause });
  }
  await reader.cancel().catch(() => undefined);
  return out.slice(0, done);
}
