import { keyOfAttributes } from '../graph/attributes.js';
import {
  commonAtoms,
  inOrder,
  type Layout,
  layoutOf,
  physicalDims,
  refine,
  reshaped,
  rowMajor,
  shapeOf,
} from '../graph/layout.js';
import type { Attribute, ElementType, OnnxConstant, OnnxNode } from '../onnx/model.js';

/** A value inside an ONNX graph: a name, the dimensions it has there, and what they mean. */
export interface Physical {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: ElementType;
  readonly layout: Layout;
  /** Every element is this number. */
  readonly fill?: 0 | 1 | undefined;
  /** Ways to write the node that made it once more with an addition folded in. */
  readonly fusable?: Fusable | undefined;
  readonly origin?: Origin | undefined;
  /** Set on an input that nothing but the reading operation wants: folding it costs no second computation. */
  readonly sole?: boolean | undefined;
}

/** Ways to write the node that made a value once more with something folded in. */
export interface Fusable {
  /** Adds a vector along the last axis. */
  readonly bias?: ((vector: Physical) => Physical) | undefined;
  /** Adds a tensor of the same shape. */
  readonly sum?: ((other: Physical) => Physical) | undefined;
}

/** How a value is built from others, where that lets an operation do without the value itself. */
export interface Origin {
  /** scale x + shift for every image and channel of a blocked map: names of `[N, C]`. */
  readonly affine?: { readonly x: Physical; readonly scale: string; readonly shift: string | undefined };
  /** Rows `[rows, columns]` kept in blocks of few bits: names of the codes and their scales. */
  readonly blocks?: {
    readonly codes: string;
    readonly factors: string;
    readonly rows: number;
    readonly columns: number;
    readonly bits: number;
    readonly block: number;
    readonly integer: boolean;
  };
  /** An image `[N, H, W, C]` with zeros around it: top, left, bottom, right. */
  readonly padded?: { readonly x: Physical; readonly pads: readonly [number, number, number, number] };
  /** The product of two values of the same shape. */
  readonly product?: readonly [Physical, Physical];
  /** The square of a value. */
  readonly square?: Physical;
}

export interface OutputSpec {
  readonly shape: readonly number[];
  readonly type: ElementType;
}

/** Writes the ONNX nodes of one operation and says what its outputs are. */
export type Lower = (
  builder: GraphBuilder,
  inputs: readonly Physical[],
  outputs: readonly OutputSpec[],
) => readonly Physical[];

export interface EmitOptions {
  readonly attributes?: Readonly<Record<string, Attribute>> | undefined;
  readonly domain?: string | undefined;
  readonly outputs?: number | undefined;
}

/** Collects the nodes of one ONNX graph. The same node with the same inputs is written once. */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  /** The kernel that each node belongs to, for errors. */
  readonly kernels: string[] = [];
  readonly constants: OnnxConstant[] = [];
  /** The kernel whose nodes are being written. */
  kernel = '';
  readonly #written = new Map<string, readonly string[]>();
  #names = 0;

  constructor(
    /** Channels in a block of ONNX Runtime's blocked image layout on this processor; 0 where there is none. */
    readonly blockSize: number,
  ) {}

  name(): string {
    return `v${this.#names++}`;
  }

  emit(
    op: string,
    inputs: readonly string[],
    { attributes, domain, outputs = 1 }: EmitOptions = {},
  ): readonly string[] {
    const key = `${op}|${domain ?? ''}|${inputs.join(',')}|${keyOfAttributes(attributes)}|${outputs}`;
    const found = this.#written.get(key);
    if (found !== undefined) return found;
    const names = Array.from({ length: outputs }, () => this.name());
    this.nodes.push({
      op,
      inputs,
      outputs: names,
      ...(attributes === undefined ? {} : { attributes }),
      ...(domain === undefined ? {} : { domain }),
    });
    this.kernels.push(this.kernel);
    this.#written.set(key, names);
    return names;
  }

  /** A node with one output. */
  one(
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
    domain?: string,
  ): string {
    return this.emit(op, inputs, { attributes, domain })[0]!;
  }

  /** A constant vector of int64 (shapes, axes, starts). */
  ints(values: readonly number[]): string {
    return this.#constant('int64', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  }

  /** A constant vector of float32 that belongs to the formula. */
  floats(values: readonly number[]): string {
    return this.#constant('float32', [values.length], new Uint8Array(Float32Array.from(values).buffer));
  }

  /** Constant data; `name` where it has one already and is not to be compared with others. */
  bytes(type: ElementType, shape: readonly number[], data: Uint8Array, name?: string): string {
    if (name === undefined && data.length <= 64) return this.#constant(type, shape, data);
    const own = name ?? `${type}_table_${shape}`;
    if (!this.constants.some((constant) => constant.name === own))
      this.constants.push({ name: own, type, shape, data });
    return own;
  }

  /** A constant scalar that belongs to the formula (never one that a caller may change). */
  scalar(value: number, type: ElementType = 'float32'): string {
    return this.#constant(type, [], scalarBytes(value, type));
  }

  /** The same elements under other dimensions. */
  view(value: Physical, dims: readonly number[]): string {
    if (String(value.dims) === String(dims)) return value.name;
    return this.one('Reshape', [value.name, this.ints(dims)]);
  }

  /** The elements arranged as `target` says, dimensions as its atoms lie in memory. */
  relayout(value: Physical, target: Layout): Physical {
    if (value.layout.key === target.key) return value;
    const shared = value.layout.axes.map((atoms, axis) => commonAtoms(atoms, target.axes[axis]!));
    if (shared.some((atoms) => atoms === undefined)) {
      return this.relayout(this.relayout(value, rowMajor(shapeOf(value.layout))), target);
    }
    const finer = shared as readonly (readonly number[])[];
    const from = refine(value.layout, finer);
    const to = refine(target, finer);
    const sizes = to.axes.flat();
    const place = new Map(from.order.map((atom, at) => [atom, at]));
    const present = to.order.filter((atom) => place.has(atom));
    const moved = this.#transpose(
      value,
      physicalDims(from),
      present.map((atom) => place.get(atom)!),
    );
    if (present.length === to.order.length) return { ...value, ...moved, layout: target };
    const thin = to.order.map((atom) => (place.has(atom) ? sizes[atom]! : 1));
    const full = to.order.map((atom) => sizes[atom]!);
    const name = this.one('Expand', [this.view({ ...value, ...moved }, thin), this.ints(full)]);
    return { ...value, name, dims: full, layout: target };
  }

  /** The elements in row-major order. */
  dense(value: Physical): Physical {
    return this.relayout(value, rowMajor(shapeOf(value.layout)));
  }

  /** The name of the elements in row-major order under their logical shape. */
  plain(value: Physical): string {
    return this.view(this.dense(value), shapeOf(value.layout));
  }

  /** What an ONNX node gave in row-major order. */
  result(name: string, { shape, type }: OutputSpec): Physical {
    return { name, dims: shape, type, layout: rowMajor(shape) };
  }

  /** The same elements under another logical shape; they move only where the layout cannot express it. */
  reshape(value: Physical, shape: readonly number[]): Physical {
    const layout = reshaped(value.layout, shape);
    if (layout !== undefined) return { ...value, layout, fusable: undefined, origin: keptOrigin(value, shape) };
    const flat = this.dense(value);
    return { ...flat, layout: rowMajor(shape), fusable: undefined, origin: undefined };
  }

  /** Carries out broadcasts that were put off. */
  full(value: Physical): Physical {
    const axes = value.layout.axes.map((atoms) => atoms.map(Math.abs));
    if (axes.flat().length === value.layout.order.length) return value;
    const stored = value.layout.order;
    const missing = axes.flat().flatMap((_, atom) => (stored.includes(atom) ? [] : [atom]));
    if (stored.length === 0) return this.relayout(value, inOrder(axes));
    return this.relayout(value, layoutOf(axes, place(stored, missing)));
  }

  #transpose(
    value: Physical,
    dims: readonly number[],
    permutation: readonly number[],
  ): { name: string; dims: number[] } {
    const groups: number[][] = [];
    for (const axis of permutation) {
      const last = groups.at(-1);
      if (last !== undefined && last.at(-1) === axis - 1) last.push(axis);
      else groups.push([axis]);
    }
    const outer = [...groups].sort((a, b) => a[0]! - b[0]!);
    const sizes = (group: readonly number[]): number => group.reduce((n, axis) => n * dims[axis]!, 1);
    const moved = permutation.map((axis) => dims[axis]!);
    if (groups.length <= 1) return { name: value.name, dims: [...value.dims] };
    const view = this.view(value, outer.map(sizes));
    const name = this.one('Transpose', [view], { perm: groups.map((group) => outer.indexOf(group)) });
    const out = groups.map(sizes);
    return String(out) === String(moved)
      ? { name, dims: moved }
      : { name: this.view({ ...value, name, dims: out }, moved), dims: moved };
  }

  #constant(type: ElementType, shape: readonly number[], data: Uint8Array): string {
    const key = `constant|${type}|${shape.length}|${data.join(',')}`;
    const found = this.#written.get(key);
    if (found !== undefined) return found[0]!;
    const name = this.name();
    this.constants.push({ name, type, shape, data });
    this.#written.set(key, [name]);
    return name;
  }
}

/** A reshape that joins or splits positions, `[N, ..., C]` to `[N, ..., C]`, keeps what is known for each channel. */
function keptOrigin({ origin, layout }: Physical, shape: readonly number[]): Origin | undefined {
  const before = shapeOf(layout);
  if (origin?.blocks !== undefined) return before.at(-1) === shape.at(-1) ? { blocks: origin.blocks } : undefined;
  const same = before[0] === shape[0] && before.at(-1) === shape.at(-1) && shape.length > 1 && before.length > 1;
  return same && origin?.affine !== undefined ? { affine: origin.affine } : undefined;
}

/** Puts each missing atom before the first stored atom that follows it logically. */
export function place(stored: readonly number[], missing: readonly number[]): number[] {
  const order = [...stored];
  for (const atom of missing) {
    const before = order.findIndex((other) => other > atom);
    if (before < 0) order.push(atom);
    else order.splice(before, 0, atom);
  }
  return order;
}

function scalarBytes(value: number, type: ElementType): Uint8Array {
  switch (type) {
    case 'float32':
      return new Uint8Array(Float32Array.of(value).buffer);
    case 'int32':
      return new Uint8Array(Int32Array.of(value).buffer);
    case 'int64':
      return new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
    default:
      return Uint8Array.of(value);
  }
}
