import type { Cone } from '../graph/graph.js';
import type { Layout } from '../graph/layout.js';
import { physicalDims } from '../graph/layout.js';
import { GraphBuilder, type Physical } from '../lowering/builder.js';
import { type Feed, feedsOf, widened } from '../lowering/widen.js';
import type { StoredType } from '../memory/buffer-pool.js';
import type { OnnxGraph } from '../onnx/model.js';
import { emitStop, WORTH_A_STOP } from './stop.js';

/** Where the buffer of a kept value comes from. */
export type Source =
  | { readonly kind: 'output'; readonly index: number }
  | { readonly kind: 'leaf'; readonly index: number }
  | { readonly kind: 'fill'; readonly value: 0 | 1 };

export interface ProgramPlan {
  readonly graph: OnnxGraph;
  /** The kernel that each ONNX node belongs to. */
  readonly kernels: readonly string[];
  readonly inputs: readonly (Feed & { readonly leaf: number })[];
  readonly outputs: readonly {
    readonly name: string;
    readonly dims: readonly number[];
    readonly type: StoredType;
    readonly size: number;
  }[];
  readonly kept: readonly { readonly source: Source; readonly layout: Layout; readonly type: StoredType }[];
  /** The output that ends a run before the others are copied, where they are large. */
  readonly stop: string | undefined;
  /** Elements of the largest value: what decides whether threads pay. */
  readonly largest: number;
  /** True where its session gives memory back after a run, instead of keeping that of its largest one. */
  readonly returnsMemory: boolean;
  /** Elements of all values: at most so many does its session hold memory for, also while it does not run. */
  readonly elements: number;
}

/** Lowers a cone to an ONNX graph. */
export function plan(cone: Cone, blockSize: number): ProgramPlan {
  const builder = new GraphBuilder(blockSize);
  const values = new Map<object, Physical>();
  const leafOf = new Map<string, number>();
  cone.leaves.forEach((value, index) => {
    const { layout } = value.buffer!;
    const dims = physicalDims(layout);
    const name = `i${index}`;
    leafOf.set(name, index);
    const narrow = value.buffer!.narrowed;
    builder.kernel = 'widening of weights';
    values.set(
      value,
      narrow === undefined
        ? { name, dims, type: value.type, layout, fill: value.fill }
        : widened(builder, name, narrow, layout),
    );
  });
  const keptValues = new Set(cone.kept);
  let largest = 0;
  let elements = 0;
  for (const node of cone.nodes) {
    builder.kernel = node.kernel;
    const inputs = node.inputs.map((input) => {
      const physical = values.get(input)!;
      return physical.fusable === undefined
        ? physical
        : { ...physical, sole: input.uses === 1 && !keptValues.has(input) };
    });
    const outputs = node.call.lower(builder, inputs, node.outputs);
    node.outputs.forEach((value, index) => {
      values.set(value, outputs[index]!);
      largest = Math.max(largest, value.size);
      elements += value.size;
    });
  }
  const outputIndex = new Map<string, number>();
  const outputs: ProgramPlan['outputs'][number][] = [];
  const kept = cone.kept.map((value): ProgramPlan['kept'][number] => {
    const natural = values.get(value)!;
    if (natural.fill !== undefined) {
      return { source: { kind: 'fill', value: natural.fill }, layout: natural.layout, type: value.type };
    }
    const physical = cone.read.has(value) ? builder.dense(natural) : natural;
    const { layout } = physical;
    const leaf = leafOf.get(physical.name);
    if (leaf !== undefined) return { source: { kind: 'leaf', index: leaf }, layout, type: value.type };
    let index = outputIndex.get(physical.name);
    if (index === undefined) {
      index = outputs.length;
      outputIndex.set(physical.name, index);
      const size = physical.dims.reduce((n, d) => n * d, 1);
      outputs.push({ name: physical.name, dims: physical.dims, type: value.type, size });
    }
    return { source: { kind: 'output', index }, layout, type: value.type };
  });
  const bytes = outputs.reduce((sum, { type, size }) => sum + (type === 'bool' ? size : 4 * size), 0);
  const stop = bytes >= WORTH_A_STOP ? emitStop(builder) : undefined;
  const named = outputs.map(({ name, dims, type }) => ({ name, shape: dims, type }));
  const fetched = stop === undefined ? named : [{ name: stop, shape: [], type: 'bfloat16' as const }, ...named];
  // A network whose codes are fed is one that fills the memory by itself.
  const returnsMemory = cone.leaves.some(({ buffer }) => {
    const narrow = buffer!.narrowed;
    return narrow?.kind === 'blocks' && narrow.fed;
  });
  const live = prune(builder, fetched);
  const used = new Set(live.nodes.flatMap((node) => node.inputs));
  const inputs = cone.leaves.flatMap((value, leaf) => {
    const { layout, narrowed } = value.buffer!;
    const feeds = feedsOf(`i${leaf}`, value.type, layout, narrowed);
    return feeds.filter(({ name }) => used.has(name)).map((feed) => ({ ...feed, leaf }));
  });
  return {
    graph: {
      nodes: live.nodes,
      inputs: inputs.map(({ name, dims, type }) => ({ name, shape: dims, type })),
      outputs: fetched,
      constants: builder.constants.filter(({ name }) => used.has(name)),
    },
    kernels: live.kernels,
    inputs,
    outputs,
    kept,
    stop,
    largest,
    returnsMemory,
    elements,
  };
}

/** Drops nodes that no output needs (halves of composites that a simplification made superfluous). */
function prune(
  builder: GraphBuilder,
  outputs: readonly { readonly name: string }[],
): Pick<GraphBuilder, 'nodes' | 'kernels'> {
  const needed = new Set(outputs.map(({ name }) => name));
  const keep: number[] = [];
  for (let i = builder.nodes.length - 1; i >= 0; i--) {
    const node = builder.nodes[i]!;
    if (!node.outputs.some((name) => needed.has(name))) continue;
    for (const name of node.inputs) needed.add(name);
    keep.push(i);
  }
  keep.reverse();
  return { nodes: keep.map((i) => builder.nodes[i]!), kernels: keep.map((i) => builder.kernels[i]!) };
}
