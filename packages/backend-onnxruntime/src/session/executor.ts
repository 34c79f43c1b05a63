import { totalmem } from 'node:os';
import type { Cone } from '../graph/graph.js';
import { isStretched, type Layout, storedSize } from '../graph/layout.js';
import type { Value } from '../graph/value.js';
import type { Feed } from '../lowering/widen.js';
import type { BufferPool, StoredType } from '../memory/buffer-pool.js';
import { HostBuffer } from '../memory/host-buffer.js';
import { isConstant, type Narrow } from '../memory/narrow.js';
import { type Elements, rearrange } from '../memory/rearrange.js';
import type { NativeTensor } from '../native/binding.js';
import type { ElementType } from '../onnx/model.js';
import { createSession, type EngineOptions, runSession } from './engine.js';
import { plan } from './program.js';
import { type Program, ProgramCache } from './program-cache.js';

/** Runs cones: finds or makes the program, feeds it, and hands out its buffers. */
export class Executor {
  // Half of the machine's memory, at four bytes an element.
  readonly programs = new ProgramCache({ programs: 512, nodes: 200_000, elements: totalmem() / 8 });

  constructor(
    readonly pool: BufferPool,
    readonly options: EngineOptions,
    readonly blockSize: number,
  ) {}

  run(cone: Cone): readonly HostBuffer[] {
    this.#settle(cone);
    const key = keyOf(cone);
    try {
      return this.#execute(this.programs.get(key) ?? this.#compile(key, cone, this.options), cone.leaves);
    } catch (error) {
      if (this.options.provider === 'cpu') throw error;
      // What a provider took and could not do runs on the cpu, where a fault of the data is found again.
      return this.#execute(this.#compile(key, cone, { ...this.options, provider: 'cpu' }), cone.leaves);
    }
  }

  #compile(key: string, cone: Cone, options: EngineOptions): Program {
    const planned = plan(cone, this.blockSize);
    const session = planned.outputs.length === 0 ? undefined : createSession(planned, options);
    // Constants went into the session; only names are needed from here on.
    const program = { plan: { ...planned, graph: { ...planned.graph, constants: [] } }, session };
    this.programs.set(key, program);
    return program;
  }

  #execute({ plan, session }: Program, leaves: readonly Value[]): readonly HostBuffer[] {
    const feeds: Record<string, NativeTensor> = {};
    for (const { name, leaf, dims, type, part } of plan.inputs) {
      feeds[name] = tensor(type, dims, fed(leaves[leaf]!.buffer!, part));
    }
    const arrays = plan.outputs.map(({ type, size }) => this.pool.take(type, size));
    const fetches: Record<string, NativeTensor> = {};
    plan.outputs.forEach(({ name, dims, type }, index) => {
      fetches[name] = tensor(type, dims, arrays[index]!);
    });
    if (session !== undefined) {
      try {
        runSession(session, feeds, fetches, plan);
      } catch (error) {
        for (const array of arrays) this.pool.give(array);
        throw error;
      }
    }
    const owners: (HostBuffer | undefined)[] = arrays.map(() => undefined);
    return plan.kept.map(({ source, layout, type }) => {
      if (source.kind === 'fill') return this.filled(source.value, type, layout);
      if (source.kind === 'leaf') return leaves[source.index]!.buffer!.share(layout);
      const owner = owners[source.index];
      if (owner !== undefined) return owner.share(layout);
      const made = HostBuffer.of(arrays[source.index]!, layout, this.pool);
      owners[source.index] = made;
      return made;
    });
  }

  /** A buffer whose stored elements are all `value`. */
  filled(value: number, type: StoredType, layout: Layout): HostBuffer {
    const data = this.pool.take(type, storedSize(layout));
    data.fill(value);
    return HostBuffer.of(data, layout, this.pool);
  }

  /** Brings stored values into the layouts that nodes prefer, for good and in their own memory. */
  #settle({ nodes }: Cone): void {
    const moves: { readonly value: Value; readonly layout: Layout; readonly data: Elements }[] = [];
    for (const { call, inputs } of nodes) {
      call.prefers?.(inputs).forEach((layout, index) => {
        const value = inputs[index]!;
        const { buffer } = value;
        if (layout === undefined || buffer === undefined || buffer.layout.key === layout.key) return;
        const narrow = buffer.narrowed;
        if (narrow?.kind === 'blocks' || !buffer.alone || isStretched(buffer.layout)) return;
        if (moves.some((move) => move.value === value)) return;
        moves.push({ value, layout, data: narrow?.data ?? buffer.data });
      });
    }
    // Models come with hundreds of filters: one array for all of them, not a second one for each.
    const scratch = new ArrayBuffer(Math.max(0, ...moves.map(({ data }) => data.byteLength)));
    for (const { value, layout, data } of moves) {
      const buffer = value.buffer!;
      const copy = new (data.constructor as new (buffer: ArrayBuffer, from: number, length: number) => Elements)(
        scratch,
        0,
        data.length,
      );
      copy.set(data);
      rearrange(copy, data, buffer.layout, layout);
      value.buffer = buffer.share(layout);
      buffer.release();
    }
  }
}

/** What a session is given of a buffer. */
function fed(buffer: HostBuffer, part: Feed['part']): ArrayBufferView {
  const { narrowed } = buffer;
  if (narrowed === undefined) return buffer.data;
  if (narrowed.kind !== 'blocks') return narrowed.data;
  return part === 'scales' ? narrowed.scales : narrowed.packed;
}

function tensor(type: ElementType, dims: readonly number[], data: ArrayBufferView): NativeTensor {
  return { type, dims, data, location: 'cpu' };
}

function keyOfNarrow(narrow: Narrow): string {
  if (narrow.kind !== 'blocks') return narrow.kind;
  if (isConstant(narrow)) return `blocks${narrow.id}`;
  const { block, bits, scales, integer } = narrow;
  return `blocks of ${block} in ${bits} bits, ${scales instanceof Uint16Array ? 'half' : 'whole'} scales${integer ? ', integer' : ''}`;
}

/** Operations, attributes, shapes, wiring, layouts and types of what is read, and what is kept. */
function keyOf({ nodes, leaves, kept, read }: Cone): string {
  const ids = new Map<Value, number>();
  const parts: (number | string)[] = [];
  for (const leaf of leaves) {
    ids.set(leaf, ids.size);
    const { layout, narrowed } = leaf.buffer!;
    parts.push(narrowed === undefined ? leaf.type : keyOfNarrow(narrowed), leaf.fill ?? '', layout.key);
  }
  for (const node of nodes) {
    parts.push(node.signature);
    for (const input of node.inputs) parts.push(ids.get(input)!);
    for (const output of node.outputs) ids.set(output, ids.size);
  }
  parts.push('>');
  for (const value of kept) parts.push(read.has(value) ? `r${ids.get(value)!}` : ids.get(value)!);
  return parts.join(' ');
}
