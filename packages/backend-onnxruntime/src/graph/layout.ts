import { sizeOf } from '@mezzotint/core';

/**
 * How the elements of a tensor lie in memory. Every logical axis is a product of *atoms*; `order` lists the atoms as
 * memory has them, outermost first. So a transpose is a change of `axes` alone, a reshape regroups or splits atoms, and
 * a channel-blocked image `[N, H, W, C]` is the atoms `N | H | W | C/16, 16` in the order N, C/16, H, W, 16.
 *
 * A negative atom -n is *stretched*: the axis has n equal elements of which memory holds one (a broadcast that was never
 * carried out). Stretched atoms are not in `order`. Axes of size 1 have no atoms.
 */
export interface Layout {
  readonly axes: readonly (readonly number[])[];
  readonly order: readonly number[];
  /** Equal keys mean equal layouts. */
  readonly key: string;
}

const interned = new Map<string, Layout>();

/** The layout with neighbours merged that belong together, always the same object for the same arrangement. */
export function layoutOf(axes: readonly (readonly number[])[], order: readonly number[]): Layout {
  const { axes: merged, order: mergedOrder } = merge(axes, order);
  // The rank is part of it: no axes and one axis of size 1 both have no atoms.
  const key = `${merged.length}:${merged.map((atoms) => atoms.join(',')).join(';')}/${mergedOrder.join(',')}`;
  const found = interned.get(key);
  if (found !== undefined) return found;
  const layout: Layout = { axes: merged, order: mergedOrder, key };
  interned.set(key, layout);
  return layout;
}

/** Row-major. */
export function rowMajor(shape: readonly number[]): Layout {
  return inOrder(shape.map((size) => (size === 1 ? [] : [size])));
}

/** All elements are one. */
export function stretched(shape: readonly number[]): Layout {
  return inOrder(shape.map((size) => (size === 1 ? [] : [-size])));
}

/** The given atoms, in memory as they are listed (stretched ones left out). */
export function inOrder(axes: readonly (readonly number[])[]): Layout {
  const flat = axes.flat();
  return layoutOf(
    axes,
    flat.flatMap((atom, index) => (atom > 0 ? [index] : [])),
  );
}

export function shapeOf(layout: Layout): number[] {
  return layout.axes.map((atoms) => Math.abs(sizeOf(atoms)));
}

/** Sizes of the atoms as memory has them. */
export function physicalDims(layout: Layout): number[] {
  const flat = layout.axes.flat();
  return layout.order.map((index) => flat[index]!);
}

/** Number of elements that memory holds. */
export function storedSize(layout: Layout): number {
  return sizeOf(physicalDims(layout));
}

export function isStretched(layout: Layout): boolean {
  return layout.axes.some((atoms) => atoms.some((atom) => atom < 0));
}

export function isRowMajor(layout: Layout): boolean {
  return !isStretched(layout) && layout.order.every((index, at) => index === at);
}

/** Moves axes; nothing moves in memory. */
export function transposed(layout: Layout, permutation: readonly number[]): Layout {
  const starts = startsOf(layout.axes);
  const axes = permutation.map((axis) => layout.axes[axis]!);
  const moved = permutation.flatMap((axis) => layout.axes[axis]!.map((_, at) => starts[axis]! + at));
  const newIndex = new Map(moved.map((old, index) => [old, index]));
  return layoutOf(
    axes,
    layout.order.map((index) => newIndex.get(index)!),
  );
}

/** Regroups atoms into a new shape; undefined where an atom would have to be cut at a place that does not divide it. */
export function reshaped(layout: Layout, shape: readonly number[]): Layout | undefined {
  const cuts = suffixProducts(shape);
  const parts = layout.axes.flat();
  const refined: number[][] = [];
  let below = Math.abs(sizeOf(parts));
  for (const atom of parts) {
    const above = below;
    below = above / Math.abs(atom);
    const split = cut(Math.abs(atom), below, cuts);
    if (split === undefined) return undefined;
    refined.push(atom < 0 ? split.map((size) => -size) : split);
  }
  const flat = refined.flat();
  const axes: number[][] = [];
  let at = 0;
  for (const size of shape) {
    const atoms: number[] = [];
    for (let have = 1; have < size; at++) {
      atoms.push(flat[at]!);
      have *= Math.abs(flat[at]!);
      if (have > size) return undefined;
    }
    axes.push(atoms);
  }
  return layoutOf(axes, refineOrder(layout.order, refined));
}

/** Adds leading axes of size 1 and stretches axes of size 1, as broadcasting does. */
export function broadcast(layout: Layout, shape: readonly number[]): Layout {
  const missing = shape.length - layout.axes.length;
  const axes: (readonly number[])[] = [];
  const shift: number[] = [];
  let added = 0;
  shape.forEach((size, axis) => {
    const atoms = axis < missing ? [] : layout.axes[axis - missing]!;
    if (atoms.length === 0 && size > 1) {
      axes.push([-size]);
      added++;
    } else {
      for (const _ of atoms) shift.push(added);
      axes.push(atoms);
    }
  });
  return layoutOf(
    axes,
    layout.order.map((index) => index + shift[index]!),
  );
}

/** Cuts atoms so that every axis has the given ones (each a finer factorisation of the axis). Not merged again. */
export function refine(layout: Layout, finer: readonly (readonly number[])[]): Layout {
  const pieces: number[][] = [];
  layout.axes.forEach((atoms, axis) => {
    const source = finer[axis]!;
    let at = 0;
    for (const atom of atoms) {
      const split: number[] = [];
      for (let have = 1; have < Math.abs(atom); at++) {
        const size = Math.abs(source[at]!);
        split.push(atom < 0 ? -size : size);
        have *= size;
      }
      pieces.push(split);
    }
  });
  let next = 0;
  const axes = layout.axes.map((atoms) => atoms.flatMap(() => pieces[next++]!));
  return { axes, order: refineOrder(layout.order, pieces), key: '' };
}

/** The coarsest factorisation of an axis that is finer than both, or undefined where there is none. */
export function commonAtoms(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  if (b.length === 0 || String(a) === String(b)) return a;
  if (a.length === 0) return b;
  const cuts = [...new Set([...suffixProducts(a.map(Math.abs)), ...suffixProducts(b.map(Math.abs))])].sort(
    (x, y) => y - x,
  );
  const atoms: number[] = [];
  for (let i = 0; i + 1 < cuts.length; i++) {
    const size = cuts[i]! / cuts[i + 1]!;
    if (!Number.isInteger(size)) return undefined;
    if (size > 1) atoms.push(size);
  }
  return atoms;
}

/** `[total, ..., 1]`: how many elements lie at and below each boundary between axes. */
function suffixProducts(sizes: readonly number[]): number[] {
  const products = [1];
  for (let i = sizes.length - 1; i >= 0; i--) products.unshift(products[0]! * sizes[i]!);
  return products;
}

/** Cuts an atom of `size` elements, each `below` wide, at every boundary that lies inside it. */
function cut(size: number, below: number, boundaries: readonly number[]): number[] | undefined {
  const above = size * below;
  const inside = boundaries.filter((b) => b > below && b < above);
  const edges = [...new Set([above, ...inside, below])];
  const parts: number[] = [];
  for (let i = 0; i + 1 < edges.length; i++) {
    const part = edges[i]! / edges[i + 1]!;
    if (!Number.isInteger(part)) return undefined;
    parts.push(part);
  }
  return parts;
}

function refineOrder(order: readonly number[], pieces: readonly (readonly number[])[]): number[] {
  const starts = startsOf(pieces);
  return order.flatMap((index) => pieces[index]!.map((_, at) => starts[index]! + at));
}

function startsOf(groups: readonly (readonly number[])[]): number[] {
  let start = 0;
  return groups.map((group) => {
    const here = start;
    start += group.length;
    return here;
  });
}

/** Merges atoms of one axis that are neighbours both in the axis and in memory (or both stretched). */
function merge(
  axes: readonly (readonly number[])[],
  order: readonly number[],
): { axes: readonly (readonly number[])[]; order: readonly number[] } {
  const position = new Map(order.map((index, at) => [index, at]));
  const newIndex: number[] = [];
  const merged: number[][] = [];
  let index = 0;
  let count = 0;
  for (const atoms of axes) {
    const out: number[] = [];
    atoms.forEach((atom, at) => {
      const joins =
        at > 0 &&
        (atom < 0 ? atoms[at - 1]! < 0 : atoms[at - 1]! > 0 && position.get(index) === position.get(index - 1)! + 1);
      if (joins) {
        out[out.length - 1] = out.at(-1)! * Math.abs(atom);
        newIndex.push(-1);
      } else {
        out.push(atom);
        newIndex.push(count++);
      }
      index++;
    });
    merged.push(out);
  }
  return { axes: merged, order: order.map((i) => newIndex[i]!).filter((i) => i >= 0) };
}
