import { type Layout, layoutOf } from '../graph/layout.js';

/** Builds a layout from axes given as atoms, and the places of those atoms in memory, sizes of 1 left out. */
function arrange(
  axes: readonly (readonly number[])[],
  order: readonly (readonly [axis: number, at: number])[],
): Layout {
  const kept = axes.map((atoms) => atoms.filter((size) => size !== 1));
  const index = new Map<string, number>();
  let next = 0;
  axes.forEach((atoms, axis) => {
    atoms.forEach((size, at) => {
      if (size !== 1) index.set(`${axis}.${at}`, next++);
    });
  });
  return layoutOf(
    kept,
    order.flatMap(([axis, at]) => index.get(`${axis}.${at}`) ?? []),
  );
}

/** `[N, H, W, C]` lying as N, C, H, W. */
export function channelsFirst([n, h, w, c]: readonly [number, number, number, number]): Layout {
  return arrange(
    [[n], [h], [w], [c]],
    [
      [0, 0],
      [3, 0],
      [1, 0],
      [2, 0],
    ],
  );
}

/** `[N, H, W, C]` lying as N, C/block, H, W, block: what ONNX Runtime's direct convolutions read and write. */
export function channelsBlocked([n, h, w, c]: readonly [number, number, number, number], block: number): Layout {
  return arrange(
    [[n], [h], [w], [c / block, block]],
    [
      [0, 0],
      [3, 0],
      [1, 0],
      [2, 0],
      [3, 1],
    ],
  );
}

/** `[N, P, C]` lying as N, C/block, P, block. */
export function blockedRows([n, p, c]: readonly [number, number, number], block: number): Layout {
  return arrange(
    [[n], [p], [c / block, block]],
    [
      [0, 0],
      [2, 0],
      [1, 0],
      [2, 1],
    ],
  );
}

/** A filter `[H, W, I, O]` lying as O, I, H, W. */
export function filterPlain([h, w, i, o]: readonly [number, number, number, number]): Layout {
  return arrange(
    [[h], [w], [i], [o]],
    [
      [3, 0],
      [2, 0],
      [0, 0],
      [1, 0],
    ],
  );
}

/** A filter `[H, W, I, O]` lying as O/block, I/block, H, W, I block, O block. */
export function filterBlocked([h, w, i, o]: readonly [number, number, number, number], block: number): Layout {
  return arrange(
    [[h], [w], [i / block, block], [o / block, block]],
    [
      [3, 0],
      [2, 0],
      [0, 0],
      [1, 0],
      [2, 1],
      [3, 1],
    ],
  );
}

/** A filter `[H, W, I, O]` with few input channels lying as O/block, I, H, W, O block. */
export function filterOutputBlocked([h, w, i, o]: readonly [number, number, number, number], block: number): Layout {
  return arrange(
    [[h], [w], [i], [o / block, block]],
    [
      [3, 0],
      [2, 0],
      [0, 0],
      [1, 0],
      [3, 1],
    ],
  );
}
