import { describe, expect, test } from 'vitest';
import { hilbertPaths, inversePath, type ScanPath, zigzagPaths } from '../src/index.js';
import { readJson } from './support/golden.js';

type Paths = Readonly<Record<string, readonly (readonly number[])[]>>;
const reference = readJson<{ zigzag: Paths; hilbert: Paths }>('scan-paths.json');
const lists = (paths: readonly ScanPath[]) => paths.map((path) => [...path]);

test.each(Object.entries(reference.zigzag))("the original's zigzags of %s x %s", (side, paths) => {
  expect(lists(zigzagPaths(Number(side)))).toEqual(paths);
});

test.each(Object.entries(reference.hilbert))("the original's Hilbert curves of %s x %s", (side, paths) => {
  expect(lists(hilbertPaths(Number(side)))).toEqual(paths);
});

describe.each([1, 2, 6, 7, 16])('%i x %i tokens', (side) => {
  const one = (path: ScanPath) => [...path].sort((a, b) => a - b);
  const all = Array.from({ length: side * side }, (_, i) => i);

  test('every path visits each token once, and its inverse undoes it', () => {
    for (const path of [...zigzagPaths(side), ...hilbertPaths(side)]) {
      expect(one(path)).toEqual(all);
      expect([...path].map((token) => inversePath(path)[token])).toEqual(all);
    }
  });

  test('a zigzag goes from neighbour to neighbour', () => {
    for (const path of zigzagPaths(side)) {
      for (let i = 1; i < path.length; i++) {
        const [a, b] = [path[i - 1]!, path[i]!];
        const distance = Math.abs((a % side) - (b % side)) + Math.abs(Math.floor(a / side) - Math.floor(b / side));
        expect(distance).toBe(1);
      }
    }
  });
});
