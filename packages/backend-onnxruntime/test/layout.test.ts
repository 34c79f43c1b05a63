import { describe, expect, test } from 'vitest';
import {
  broadcast,
  commonAtoms,
  inOrder,
  isRowMajor,
  type Layout,
  layoutOf,
  physicalDims,
  reshaped,
  rowMajor,
  shapeOf,
  stretched,
  transposed,
} from '../src/graph/layout.js';
import { gather } from '../src/memory/host-buffer.js';
import { rearrange } from '../src/memory/rearrange.js';

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Elements 0, 1, 2, ... of a tensor, stored as the layout says. */
function store(layout: Layout): Float32Array {
  const dense = Float32Array.from({ length: count(shapeOf(layout)) }, (_, index) => index);
  const out = new Float32Array(dense.length);
  rearrange(dense, out, rowMajor(shapeOf(layout)), layout);
  return out;
}

// An image [2, 4, 6, 32] as N, C/16, H, W, 16.
const blocked = layoutOf([[2], [4], [6], [2, 16]], [0, 3, 1, 2, 4]);

describe('layouts', () => {
  test('storing and reading back is the identity', () => {
    expect([...gather(store(blocked), 'float32', blocked)]).toEqual([...Array(2 * 4 * 6 * 32).keys()]);
  });

  test('a blocked image has its channels in blocks', () => {
    expect(physicalDims(blocked)).toEqual([2, 2, 24, 16].flatMap((d) => (d === 24 ? [4, 6] : [d])));
    expect([...store(blocked).subarray(0, 17)]).toEqual([...Array(16).keys(), 32]);
  });

  test.each([[[2, 24, 32]], [[2, 4, 6, 2, 16]], [[8, 6, 4, 8]], [[48, 32]], [[1536]]])(
    'reshaping to %j moves nothing',
    (shape) => {
      const view = reshaped(blocked, shape)!;
      expect(shapeOf(view)).toEqual(shape);
      expect([...gather(store(blocked), 'float32', view)]).toEqual([...Array(1536).keys()]);
    },
  );

  test('a shape that would cut a block is refused', () => {
    expect(reshaped(blocked, [3, 512])).toBeUndefined();
  });

  test('transposing moves axes and no element', () => {
    const turned = transposed(blocked, [3, 0, 2, 1]);
    expect(shapeOf(turned)).toEqual([32, 2, 6, 4]);
    const read = gather(store(blocked), 'float32', turned);
    expect(read[0 * 48 + 0 * 24 + 1 * 4 + 2]).toBe((2 * 6 + 1) * 32);
    expect(transposed(turned, [1, 3, 2, 0])).toBe(blocked);
  });

  test('equal arrangements are the same object', () => {
    expect(rowMajor([2, 3])).toBe(inOrder([[2], [3]]));
    expect(layoutOf([[2, 3]], [0, 1])).toBe(rowMajor([6]));
    expect(isRowMajor(transposed(transposed(rowMajor([2, 3]), [1, 0]), [1, 0]))).toBe(true);
  });

  test('stretched axes hold one element and read as many', () => {
    const layout = broadcast(rowMajor([3, 1]), [2, 3, 4]);
    expect(physicalDims(layout)).toEqual([3]);
    expect([...gather(new Float32Array([5, 6, 7]), 'float32', layout)].slice(0, 12)).toEqual([
      5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7,
    ]);
    expect([...gather(new Float32Array([9]), 'float32', stretched([2, 2]))]).toEqual([9, 9, 9, 9]);
  });

  test('factorisations meet in their coarsest refinement, where there is one', () => {
    expect(commonAtoms([4, 16], [64])).toEqual([4, 16]);
    expect(commonAtoms([4, 16], [8, 8])).toEqual([4, 2, 8]);
    expect(commonAtoms([3, 2], [2, 3])).toBeUndefined();
  });
});
