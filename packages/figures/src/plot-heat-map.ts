import { InvalidArgumentError } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data';
import { drawSvg, escapeXml, FONT, textWidth } from './svg.js';

/** What a heat map says around its cells. */
export interface HeatMapOptions {
  /** A text for each row, from the top. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly title?: string;
  readonly rowLabel?: string;
  readonly columnLabel?: string;
  /** Which cell is framed. Default `lowest`. */
  readonly best?: 'lowest' | 'highest';
}

const CELL = { width: 92, height: 44 } as const;
/** Colours of the lowest and the highest value. */
const [LOW, HIGH] = [
  [247, 251, 255],
  [8, 48, 107],
] as const;

/**
 * Numbers as shades of blue, on a logarithmic scale where all are positive, each with its value; the best one is framed. A cell
 * that is not finite is left white.
 *
 * @throws InvalidArgumentError when rows or columns do not fit the labels, or no value is finite
 */
export function plotHeatMap(values: readonly (readonly number[])[], options: HeatMapOptions): Bitmap {
  const { rows, columns, title, rowLabel, columnLabel, best = 'lowest' } = options;
  const problems: string[] = [];
  if (values.length !== rows.length) problems.push(`expected ${rows.length} rows of values, got ${values.length}`);
  const other = values.find((row) => row.length !== columns.length);
  if (other !== undefined) problems.push(`expected ${columns.length} values in a row, got ${other.length}`);
  const finite = values.flat().filter(Number.isFinite);
  if (finite.length === 0) problems.push('expected at least one finite value');
  if (problems.length > 0) throw new InvalidArgumentError('plotHeatMap', problems);

  const scale = finite.every((value) => value > 0) ? Math.log : (value: number) => value;
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const shadeOf = (value: number) => (high > low ? (scale(value) - scale(low)) / (scale(high) - scale(low)) : 0);
  const framed = best === 'lowest' ? low : high;
  const left = 24 + (rowLabel ? 24 : 0) + Math.max(...rows.map((text) => textWidth(text, 13)));
  const top = 20 + (title ? 30 : 0);
  const [right, bottom] = [left + columns.length * CELL.width, top + rows.length * CELL.height];
  const width = Math.max(right + 24, title ? left + textWidth(title, 18) : 0);
  const height = bottom + 34 + (columnLabel ? 24 : 0);

  const cells = values.flatMap((row, i) =>
    row.map((value, j) => {
      const [x, y] = [left + j * CELL.width, top + i * CELL.height];
      if (!Number.isFinite(value)) return '';
      const shade = shadeOf(value);
      const color = LOW.map((from, c) => Math.round(from + shade * (HIGH[c]! - from)));
      const text = String(Number(value.toPrecision(3)));
      const bold = value === framed ? ' font-weight="bold"' : '';
      return [
        `<rect x="${x}" y="${y}" width="${CELL.width - 1}" height="${CELL.height - 1}" fill="rgb(${color.join(',')})"/>`,
        value === framed
          ? `<rect x="${x + 2}" y="${y + 2}" width="${CELL.width - 5}" height="${CELL.height - 5}" fill="none" stroke="#d55e00" stroke-width="3"/>`
          : '',
        label(text, x + CELL.width / 2, y + CELL.height / 2 + 5, `fill="${shade > 0.5 ? '#fff' : '#111'}"${bold}`, 14),
      ].join('');
    }),
  );
  const parts = [
    title ? label(title, left, 32, 'text-anchor="start" fill="#111"', 18) : '',
    ...cells,
    ...rows.map((text, i) =>
      label(text, left - 8, top + (i + 0.5) * CELL.height + 4.5, 'text-anchor="end" fill="#444"', 13),
    ),
    ...columns.map((text, j) => label(text, left + (j + 0.5) * CELL.width, bottom + 18, 'fill="#444"', 13)),
    columnLabel ? label(columnLabel, (left + right) / 2, height - 12, 'fill="#444"', 14) : '',
    rowLabel
      ? label(rowLabel, 0, 0, `fill="#444" transform="translate(20 ${(top + bottom) / 2}) rotate(-90)"`, 14)
      : '',
  ];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${FONT}">`;
  return drawSvg(`${svg}<rect width="${width}" height="${height}" fill="#fff"/>${parts.join('')}</svg>`);
}

function label(text: string, x: number, y: number, style: string, size: number): string {
  const anchor = style.includes('text-anchor') ? '' : ' text-anchor="middle"';
  return `<text x="${x}" y="${y}" font-size="${size}"${anchor} ${style}>${escapeXml(text)}</text>`;
}
