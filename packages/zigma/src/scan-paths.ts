/** Tokens of a square grid, row-major, in the order in which a scan visits them. */
export type ScanPath = Int32Array;

/**
 * The eight zigzag paths of a grid of side x side tokens: from each corner, first row by row and then column by column, every
 * other line backwards, so that neighbours in the path are neighbours in the image. Hu et al. 2024 (ZigMa), figure 4.
 */
export function zigzagPaths(side: number): ScanPath[] {
  const upwards = Array.from({ length: side }, (_, i) => i);
  const downwards = upwards.toReversed();
  const corners = [
    [upwards, upwards],
    [upwards, downwards],
    [downwards, upwards],
    [downwards, downwards],
  ] as const;
  return corners.flatMap(([rows, columns]) => [
    snake(rows, columns, (row, column) => row * side + column),
    snake(columns, rows, (column, row) => row * side + column),
  ]);
}

/** All of the first axis in order, along the second forwards and backwards in turn. */
function snake(
  outer: readonly number[],
  inner: readonly number[],
  token: (outer: number, inner: number) => number,
): ScanPath {
  const back = inner.toReversed();
  return Int32Array.from(outer.flatMap((o, i) => (i % 2 === 0 ? inner : back).map((k) => token(o, k))));
}

/**
 * Eight paths along a generalised Hilbert curve (Červený's, for any side): it, its transpose, and both turned by 90, 180 and
 * 270 degrees. As in ZigMa's code, which gathers by each token's place in the curve, so that what is scanned is the inverse of
 * the curve.
 */
export function hilbertPaths(side: number): ScanPath[] {
  const places: number[][] = Array.from({ length: side }, () => Array<number>(side).fill(0));
  let place = 0;
  for (const [x, y] of hilbertCurve([0, 0], [side, 0], [0, side])) places[x]![y] = place++;
  const paths: ScanPath[] = [];
  let grid = places;
  for (let turn = 0; turn < 4; turn++) {
    paths.push(Int32Array.from(grid.flat()), Int32Array.from(transposed(grid).flat()));
    // A quarter counterclockwise: the last column becomes the first row.
    grid = transposed(grid).reverse();
  }
  return paths;
}

type Vector = readonly [x: number, y: number];

/** The cells of the rectangle that `along` and `across` span from `at`, neighbour after neighbour. */
function* hilbertCurve(at: Vector, along: Vector, across: Vector): Generator<Vector> {
  const [width, height] = [length(along), length(across)];
  const [ahead, aside] = [direction(along), direction(across)];
  if (height === 1 || width === 1) {
    const step = height === 1 ? ahead : aside;
    for (let i = 0; i < Math.max(width, height); i++) yield add(at, times(step, i));
    return;
  }
  let [half, halfAcross] = [halved(along), halved(across)];
  if (2 * width > 3 * height) {
    // A long rectangle is cut in two, at an even place where there is one.
    if (length(half) % 2 !== 0 && width > 2) half = add(half, ahead);
    yield* hilbertCurve(at, half, across);
    yield* hilbertCurve(add(at, half), subtract(along, half), across);
    return;
  }
  // One step aside, one long step along, one step back.
  if (length(halfAcross) % 2 !== 0 && height > 2) halfAcross = add(halfAcross, aside);
  yield* hilbertCurve(at, halfAcross, half);
  yield* hilbertCurve(add(at, halfAcross), along, subtract(across, halfAcross));
  const end = add(add(at, subtract(along, ahead)), subtract(halfAcross, aside));
  yield* hilbertCurve(end, times(halfAcross, -1), times(subtract(along, half), -1));
}

const add = (a: Vector, b: Vector): Vector => [a[0] + b[0], a[1] + b[1]];
const subtract = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1]];
const times = ([x, y]: Vector, n: number): Vector => [x * n, y * n];
const length = ([x, y]: Vector): number => Math.abs(x + y);
const direction = ([x, y]: Vector): Vector => [Math.sign(x), Math.sign(y)];
/** Half of it, rounded down also below zero. */
const halved = ([x, y]: Vector): Vector => [Math.floor(x / 2), Math.floor(y / 2)];

function transposed(grid: readonly (readonly number[])[]): number[][] {
  return grid[0]!.map((_, column) => grid.map((row) => row[column]!));
}

/** The path that undoes it: q[p[i]] = i. */
export function inversePath(path: ScanPath): ScanPath {
  const inverse = new Int32Array(path.length);
  path.forEach((token, i) => {
    inverse[token] = i;
  });
  return inverse;
}
