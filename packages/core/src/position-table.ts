import { InvalidArgumentError } from './errors.js';

export interface PositionTableOptions {
  /** Rows and columns of the grid that the positions were made for; the grid's own when absent. */
  readonly base?: readonly [rows: number, columns: number];
}

/**
 * Fixed sine-cosine positions of a grid, row-major, `[rows * columns, width]`: a quarter of the width each for the sines and
 * cosines of the column, and the sines and cosines of the row, with the frequencies 10000^(-i / (width / 4)), computed in
 * float64. Vaswani et al. 2017, section 3.5, in two dimensions; ViT's and DiT's. With `base`, positions are squeezed or
 * stretched onto that grid: row * base rows / rows.
 *
 * @throws InvalidArgumentError when 4 does not divide the width
 */
export function positionTable(
  [rows, columns]: readonly [rows: number, columns: number],
  width: number,
  { base: [baseRows, baseColumns] = [rows, columns] }: PositionTableOptions = {},
): Float32Array {
  if (width % 4 !== 0) throw new InvalidArgumentError('positionTable', `expected a width that 4 divides, got ${width}`);
  const quarter = width / 4;
  const frequencies = Array.from({ length: quarter }, (_, i) => 10_000 ** (-i / quarter));
  const values = new Float32Array(rows * columns * width);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      for (const position of [(column * baseColumns) / columns, (row * baseRows) / rows]) {
        for (const wave of [Math.sin, Math.cos]) for (const f of frequencies) values[at++] = wave(position * f);
      }
    }
  }
  return values;
}
