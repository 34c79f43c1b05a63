import { InvalidArgumentError } from '@mezzotint/core';

/** One picture as bytes. */
export interface Bitmap {
  /** Pixels, HWC `[height, width, channels]`, 0..255. */
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
  /** 1 is gray, 3 is RGB. */
  readonly channels: 1 | 3;
}

/** Throws InvalidArgumentError in the name of `who` when sizes and data of a picture do not agree. */
export function checkBitmap(who: string, { data, height, width, channels }: Bitmap): void {
  const problems = [];
  if (!Number.isInteger(height) || height < 1) problems.push(`expected height to be a positive integer, got ${height}`);
  if (!Number.isInteger(width) || width < 1) problems.push(`expected width to be a positive integer, got ${width}`);
  if (channels !== 1 && channels !== 3) problems.push(`expected 1 channel (gray) or 3 (RGB), got ${channels}`);
  if (problems.length === 0 && data.length !== height * width * channels) {
    problems.push(
      `expected ${height} x ${width} x ${channels} = ${height * width * channels} bytes of pixels, got ${data.length}`,
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
