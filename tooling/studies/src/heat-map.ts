import type { Bitmap } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';

/** How a heat map is labelled. */
export interface HeatMapLabels {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly title: string;
}

/** Numbers as shades, the smallest white and the largest dark on a logarithmic scale, each with its value below. */
export function heatMap(values: readonly (readonly number[])[], { rows, columns, title }: HeatMapLabels): Bitmap {
  const flat = values.flat();
  const [low, high] = [Math.min(...flat), Math.max(...flat)].map(Math.log) as [number, number];
  const side = 72;
  const images = new Uint8Array(flat.length * side * side);
  flat.forEach((value, i) => {
    const shade = high > low ? (Math.log(value) - low) / (high - low) : 0;
    images.fill(Math.round(255 - 215 * shade), i * side * side, (i + 1) * side * side);
  });
  const set = { images, count: flat.length, height: side, width: side, channels: 1 as const };
  const best = flat.indexOf(Math.min(...flat));
  return imageGrid(set, {
    columns: columns.length,
    rowLabels: rows,
    columnLabels: columns,
    captions: flat.map(
      (value, i) => `${value.toPrecision(3)}${i === best ? ' (best)' : ''}${i === 0 ? ` ${title}` : ''}`,
    ),
  });
}
