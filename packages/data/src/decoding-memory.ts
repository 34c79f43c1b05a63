import { readingBudget } from '@mezzotint/core';

/** Bytes of pictures that are being decoded now, and who waits, in order. */
let used = 0;
const waiting: { readonly bytes: number; readonly start: () => void }[] = [];

/**
 * Runs `work` when its bytes fit beside those of the pictures that are being decoded; one that is larger than the whole
 * budget runs alone. First come, first served, in the whole process.
 */
export async function decodingMemory<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  const counted = Math.min(bytes, readingBudget.imageBytesAtOnce);
  if (waiting.length > 0 || used + counted > readingBudget.imageBytesAtOnce) {
    await new Promise<void>((start) => waiting.push({ bytes: counted, start }));
  } else {
    used += counted;
  }
  try {
    return await work();
  } finally {
    used -= counted;
    while (waiting.length > 0 && used + waiting[0]!.bytes <= readingBudget.imageBytesAtOnce) {
      const next = waiting.shift()!;
      used += next.bytes;
      next.start();
    }
  }
}
