import { InvalidArgumentError } from '@mezzotint/core';
import type { Bitmap, ImageSet } from '@mezzotint/data';
import { drawSvg, escapeXml, FONT, textWidth } from './svg.js';

/** How a grid is laid out. */
export interface GridOptions {
  /** Images in a row. Default: the ceiling of the square root of the count. */
  readonly columns?: number;
  /** White pixels between images. Default 2. */
  readonly padding?: number;
  /** Each pixel of an image becomes `scale` x `scale` pixels. Default 1. */
  readonly scale?: number;
  /** A label left of each row. */
  readonly rowLabels?: readonly string[];
  /** A label over each column. */
  readonly columnLabels?: readonly string[];
  /** A text under each image, such as its score or its prompt, in as many lines as its width needs. */
  readonly captions?: readonly string[];
}

/** Most pixels of a grid. */
const MAX_PIXELS = 1 << 28;

/**
 * One picture of many, row by row, on white, with labels if given. `images.images` is NHWC bytes, as in an image set or
 * from `toBytes`.
 *
 * @throws InvalidArgumentError when sizes, counts and labels do not agree, or the grid would exceed 2^28 pixels
 */
export function imageGrid(
  images: Pick<ImageSet, 'images' | 'count' | 'height' | 'width' | 'channels'>,
  options: GridOptions = {},
): Bitmap {
  const { count, height, width, channels } = images;
  const { columns = Math.ceil(Math.sqrt(count)), padding = 2, scale = 1, rowLabels, columnLabels, captions } = options;
  const rows = Math.ceil(count / columns);
  const problems = [];
  const positive = { count, height, width, columns, scale };
  for (const [name, value] of Object.entries(positive)) {
    if (!Number.isInteger(value) || value < 1) problems.push(`expected ${name} to be a positive integer, got ${value}`);
  }
  if (!Number.isInteger(padding) || padding < 0)
    problems.push(`expected padding to be an integer from 0, got ${padding}`);
  if (channels !== 1 && channels !== 3) problems.push(`expected 1 or 3 channels, got ${channels}`);
  const expected = count * height * width * channels;
  if (images.images.length !== expected) {
    const shape = [count, height, width, channels].join(', ');
    problems.push(`expected ${expected} bytes for [${shape}], got ${images.images.length}`);
  }
  if (problems.length === 0) {
    for (const [what, labels, wanted] of [
      ['row', rowLabels, rows],
      ['column', columnLabels, columns],
    ] as const) {
      if (labels && labels.length !== wanted) problems.push(`expected ${wanted} ${what} labels, got ${labels.length}`);
    }
  }
  if (problems.length === 0 && captions && captions.length !== count) {
    problems.push(`expected ${count} captions, got ${captions.length}`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('imageGrid', problems);

  const cell = { height: height * scale, width: width * scale };
  const { font: captionFont, lines: captionLines } = wrapped(captions ?? [], cell.width);
  const captionHeight = Math.ceil(captionFont * 1.4 * Math.max(0, ...captionLines.map((lines) => lines.length)));
  const step = { y: cell.height + captionHeight + padding, x: cell.width + padding };
  const rowFont = Math.max(9, Math.min(18, Math.round(cell.height * 0.4)));
  const columnFont = fittingFont(columnLabels ?? [], step.x);
  const left = padding + Math.max(0, ...(rowLabels ?? []).map((label) => textWidth(label, rowFont) + 6));
  const top = padding + (columnLabels ? Math.ceil(columnFont * 1.5) : 0);
  const size = { height: top + rows * step.y, width: left + columns * step.x };
  if (size.height * size.width > MAX_PIXELS) {
    const got = `${size.height} x ${size.width}`;
    throw new InvalidArgumentError(
      'imageGrid',
      `expected at most 2^28 pixels, got ${got}; take fewer images or a smaller scale`,
    );
  }

  const labels = [
    ...(rowLabels ?? []).map((label, row) =>
      svgText(label, left - padding - 4, top + row * step.y + cell.height / 2 + rowFont * 0.36, rowFont, 'end'),
    ),
    ...(columnLabels ?? []).map((label, column) =>
      svgText(label, left + column * step.x + cell.width / 2, top - padding - columnFont * 0.25, columnFont, 'middle'),
    ),
    ...captionLines.flatMap((lines, i) => {
      const x = left + (i % columns) * step.x + cell.width / 2;
      const y = top + Math.floor(i / columns) * step.y + cell.height + captionFont;
      return lines.map((line, n) => svgText(line, x, y + n * captionFont * 1.4, captionFont, 'middle'));
    }),
  ];
  const grid = canvas(size, channels, labels);
  for (let i = 0; i < count; i++) {
    paste(grid, images, i, top + Math.floor(i / columns) * step.y, left + (i % columns) * step.x, scale);
  }
  return grid;
}

/** Largest font size of 6 to 16 at which every label fits in `width` pixels. */
function fittingFont(labels: readonly string[], width: number): number {
  const widest = Math.max(1, ...labels.map((label) => textWidth(label, 1000) / 1000));
  return Math.max(6, Math.min(16, Math.floor(width / widest)));
}

/** Font size of a text that needs more than one line. */
const WRAPPED_FONT = 10;

/** Texts in lines of at most `width` pixels: one line each where they fit at 9 pixels or more, else broken between words. */
function wrapped(texts: readonly string[], width: number): { font: number; lines: string[][] } {
  const one = fittingFont(texts, width);
  if (one >= 9 || texts.every((text) => !text.includes(' '))) return { font: one, lines: texts.map((text) => [text]) };
  const words = texts.map((text) => text.split(' '));
  const font = Math.min(WRAPPED_FONT, fittingFont(words.flat(), width));
  const lines = words.map(([first = '', ...others]) =>
    others.reduce(
      ([...done], word) => {
        const longer = `${done.at(-1)} ${word}`;
        return textWidth(longer, font) <= width ? [...done.slice(0, -1), longer] : [...done, word];
      },
      [first],
    ),
  );
  return { font, lines };
}

function svgText(text: string, x: number, y: number, size: number, anchor: 'middle' | 'end'): string {
  const attributes = `x="${x}" y="${y.toFixed(1)}" font-size="${size}" text-anchor="${anchor}"`;
  return `<text ${attributes} font-family="${FONT}" fill="#222">${escapeXml(text)}</text>`;
}

/** White, with the labels on it. */
function canvas(size: { height: number; width: number }, channels: 1 | 3, labels: readonly string[]): Bitmap {
  const { height, width } = size;
  if (labels.length === 0)
    return { data: new Uint8Array(height * width * channels).fill(255), height, width, channels };
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${labels.join('')}</svg>`;
  const drawn = drawSvg(svg);
  if (channels === 3) return drawn;
  return { data: drawn.data.filter((_, i) => i % 3 === 0), height, width, channels }; // the labels are gray: R = G = B
}

/** Copies image `index` to (`top`, `left`), each pixel `scale` x `scale` times. */
function paste(
  grid: Bitmap,
  from: Pick<ImageSet, 'images' | 'height' | 'width' | 'channels'>,
  index: number,
  top: number,
  left: number,
  scale: number,
): void {
  const { images, height, width, channels } = from;
  for (let y = 0; y < height * scale; y++) {
    const source = (index * height + Math.floor(y / scale)) * width;
    let out = ((top + y) * grid.width + left) * channels;
    for (let x = 0; x < width * scale; x++) {
      const pixel = (source + Math.floor(x / scale)) * channels;
      for (let c = 0; c < channels; c++) grid.data[out++] = images[pixel + c]!;
    }
  }
}
