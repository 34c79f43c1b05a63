import { broadcast, commonAtoms, type Layout, layoutOf, refine, rowMajor, shapeOf } from '../graph/layout.js';
import type { ElementType } from '../onnx/model.js';
import { type GraphBuilder, type OutputSpec, type Physical, place } from './builder.js';

/** Operands brought to one arrangement: names that broadcast against each other as ONNX does, and what comes out. */
export interface Aligned {
  readonly names: readonly string[];
  readonly dims: readonly number[];
  readonly layout: Layout;
}

/**
 * Arranges operands of an elementwise operation like the one that has most elements. Smaller ones move; axes that are
 * stretched in all of them stay stretched, so that a broadcast gradient costs nothing.
 */
export function align(builder: GraphBuilder, operands: readonly Physical[], shape: readonly number[]): Aligned {
  let wide = operands.map((operand) => ({ ...operand, layout: broadcast(operand.layout, shape) }));
  let atoms = shape.map((_, axis) => shared(wide, axis));
  if (atoms.some((found) => found === undefined)) {
    wide = operands.map((operand) => {
      const dense = builder.relayout(operand, unblocked(operand.layout));
      return { ...dense, layout: broadcast(dense.layout, shape) };
    });
    atoms = shape.map((_, axis) => shared(wide, axis));
  }
  const finer = atoms as readonly (readonly number[])[];
  const layouts = wide.map((operand) => refine(operand.layout, finer));
  const sizes = finer.flat().map(Math.abs);

  const leader = layouts.reduce((best, layout) => (stored(layout, sizes) > stored(best, sizes) ? layout : best));
  const present = new Set(layouts.flatMap((layout) => layout.order));
  const missing = sizes.flatMap((_, atom) => (present.has(atom) && !leader.order.includes(atom) ? [atom] : []));
  const order = place(leader.order, missing);

  const runs = mergeRuns(order, layouts);
  const names = wide.map((operand, index) => {
    const own = layouts[index]!;
    const has = new Set(own.order);
    const target = layoutOf(
      own.axes,
      order.filter((atom) => has.has(atom)),
    );
    const moved = builder.relayout(operand, target);
    const dims = runs.map((run) => (has.has(run[0]!) ? run.reduce((n, atom) => n * sizes[atom]!, 1) : 1));
    return builder.view(moved, dropLeadingOnes(dims));
  });
  const dims = runs.map((run) => run.reduce((n, atom) => n * sizes[atom]!, 1));
  const axes: number[][] = [];
  let next = 0;
  for (const list of finer) axes.push(list.map(() => (present.has(next) ? sizes[next++]! : -sizes[next++]!)));
  return { names, dims, layout: layoutOf(axes, order) };
}

/** One elementwise operation of any number of operands. */
export function elementwise(
  builder: GraphBuilder,
  operands: readonly Physical[],
  { shape, type }: OutputSpec,
  emit: (...names: string[]) => string,
): Physical {
  const { names, dims, layout } = align(builder, operands, shape);
  return { name: emit(...names), dims, layout, type };
}

/** One elementwise operation of one operand; nothing moves. */
export function map(operand: Physical, type: ElementType, emit: (name: string) => string): Physical {
  return { name: emit(operand.name), dims: operand.dims, layout: operand.layout, type };
}

function shared(operands: readonly { readonly layout: Layout }[], axis: number): readonly number[] | undefined {
  return operands.reduce<readonly number[] | undefined>((atoms, { layout }) => {
    if (atoms === undefined) return undefined;
    const own = layout.axes[axis]!.map(Math.abs);
    return commonAtoms(atoms, own);
  }, []);
}

/** Row-major except that whole stretched axes stay stretched. */
function unblocked(layout: Layout): Layout {
  const axes = shapeOf(layout).map((size, axis) => {
    if (size === 1) return [];
    return layout.axes[axis]!.every((atom) => atom < 0) ? [-size] : [size];
  });
  const flat = axes.flat();
  return layoutOf(
    axes,
    flat.flatMap((atom, index) => (atom > 0 ? [index] : [])),
  );
}

function stored(layout: Layout, sizes: readonly number[]): number {
  return layout.order.reduce((n, atom) => n * sizes[atom]!, 1);
}

/** Neighbouring atoms that every operand has or lacks together become one dimension. */
function mergeRuns(order: readonly number[], layouts: readonly Layout[]): number[][] {
  const has = layouts.map((layout) => new Set(layout.order));
  const runs: number[][] = [];
  for (const atom of order) {
    const last = runs.at(-1);
    if (last !== undefined && has.every((set) => set.has(atom) === set.has(last[0]!))) last.push(atom);
    else runs.push([atom]);
  }
  return runs;
}

function dropLeadingOnes(dims: readonly number[]): readonly number[] {
  const first = dims.findIndex((size) => size > 1);
  return first < 0 ? [] : dims.slice(first);
}

/** A scalar or a vector that a formula needs, as an operand. */
export function constantOperand(builder: GraphBuilder, value: number, type: ElementType = 'float32'): Physical {
  return { name: builder.scalar(value, type), dims: [], type, layout: rowMajor([]) };
}
