import type { StoredType } from '../memory/buffer-pool.js';
import type { HostBuffer } from '../memory/host-buffer.js';
import type { Call, LazyNode } from './node.js';
import { Value } from './value.js';

/** Part of the graph that is run at once: nodes in topological order, and which of their values are kept. */
export interface Cone {
  readonly nodes: readonly LazyNode[];
  /** Values in memory that the nodes read. */
  readonly leaves: readonly Value[];
  readonly kept: readonly Value[];
  /** Of the kept ones, those that a caller reads now, and wants in row-major order. */
  readonly read: ReadonlySet<Value>;
}

/** Runs a cone: gives the buffers of its kept values, in order. */
export type RunCone = (cone: Cone) => readonly HostBuffer[];

export interface ValueSpec {
  readonly shape: readonly number[];
  readonly type: StoredType;
}

/**
 * What was asked for and not yet computed. Values are counted by the tensors outside that hold them and by the pending
 * nodes that read them; what nobody wants any more is dropped uncomputed, and its inputs with it.
 */
export class LazyGraph {
  readonly #run: RunCone;
  /** Pending values that tensors hold, in order of creation. */
  readonly #live = new Set<Value>();
  #serial = 0;
  #pendingNodes = 0;
  #quiet = { serial: 0, live: Number.POSITIVE_INFINITY };

  constructor(
    run: RunCone,
    /** Pending nodes at which the graph is cut. */
    readonly limit: number,
  ) {
    this.#run = run;
  }

  get pendingNodes(): number {
    return this.#pendingNodes;
  }

  /** Appends a computation. */
  add(call: Call, kernel: string, inputs: readonly Value[], outputs: readonly ValueSpec[]): readonly Value[] {
    const failed = inputs.find((input) => input.failure !== undefined);
    if (failed !== undefined) throw failed.failure;
    const values = outputs.map(({ shape, type }) => new Value(shape, type));
    const node: LazyNode = {
      serial: this.#serial++,
      call,
      kernel,
      inputs,
      outputs: values,
      signature: this.#signature(call, values),
      holds: true,
    };
    for (const value of values) value.node = node;
    for (const input of inputs) input.uses++;
    this.#pendingNodes++;
    return values;
  }

  /** A tensor outside takes hold of a value. */
  hold(value: Value): Value {
    value.handles++;
    if (value.pending) {
      this.#live.add(value);
      if (this.#pendingNodes >= this.limit) this.#cut();
    }
    return value;
  }

  /** A tensor outside lets go of a value. */
  letGo(value: Value): void {
    value.handles--;
    if (value.handles > 0) return;
    this.#live.delete(value);
    if (!value.wanted) this.#drop(value);
    if (this.#pendingNodes > this.limit / 2 && this.#live.size <= this.#quiet.live) {
      this.#quiet = { serial: this.#serial, live: this.#live.size };
    }
  }

  /**
   * Computes one value now; others of the same cone come with it unless they are temporaries. Row-major unless `dense`
   * is false.
   */
  read(value: Value, temporaries: ReadonlySet<Value>, dense = true): void {
    this.#flush([value], temporaries, dense ? new Set([value]) : none);
  }

  /** Frees a value that no tensor ever held, once it is done with. */
  sweep(value: Value): void {
    if (!value.wanted) this.#drop(value);
  }

  /** Computes everything that tensors hold. */
  flushAll(): void {
    this.#flushIsolated([...this.#live]);
    this.#quiet = { serial: this.#serial, live: Number.POSITIVE_INFINITY };
  }

  /**
   * Cuts a graph that grew to its limit where the fewest values were alive: in a loop that is between two turns, so the
   * same programs come again. The place depends on nothing but the calls.
   */
  #cut(): void {
    const { serial } = this.#quiet;
    const before = [...this.#live].filter((value) => value.node !== undefined && value.node.serial < serial);
    this.#quiet = { serial: this.#serial, live: Number.POSITIVE_INFINITY };
    try {
      this.#flushIsolated(before.length > 0 ? before : [...this.#live]);
    } catch {
      // The call that made the graph too long is not at fault: what failed says so when it is used.
    }
  }

  /** Flushes together; where that fails, one by one, so that only what depends on the fault is lost. */
  #flushIsolated(values: readonly Value[]): void {
    if (values.length === 0) return;
    try {
      this.#flush(values, none, none);
    } catch (error) {
      let failures = 0;
      for (const value of values) {
        if (!value.pending || !value.wanted) continue;
        try {
          this.#flush([value], none, none);
        } catch (own) {
          value.failure = own instanceof Error ? own : new Error(String(own));
          this.#live.delete(value);
          failures++;
        }
      }
      if (failures > 0) throw error;
    }
  }

  #flush(targets: readonly Value[], temporaries: ReadonlySet<Value>, read: ReadonlySet<Value>): void {
    const failed = targets.find((value) => value.failure !== undefined);
    if (failed !== undefined) throw failed.failure;
    const cone = this.#coneOf(targets, temporaries, read);
    if (cone.nodes.length === 0) return;
    const buffers = this.#run(cone);
    cone.kept.forEach((value, index) => {
      value.buffer = buffers[index]!;
      value.node = undefined;
      this.#live.delete(value);
    });
    for (let i = cone.nodes.length - 1; i >= 0; i--) this.#settle(cone.nodes[i]!);
  }

  #coneOf(targets: readonly Value[], temporaries: ReadonlySet<Value>, read: ReadonlySet<Value>): Cone {
    const nodes = new Set<LazyNode>();
    const stack: LazyNode[] = [];
    const visit = (value: Value): void => {
      const { node } = value;
      if (node === undefined || nodes.has(node)) return;
      nodes.add(node);
      stack.push(node);
    };
    for (const value of targets) visit(value);
    const leaves = new Set<Value>();
    const usesInside = new Map<Value, number>();
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      for (const input of node.inputs) {
        if (input.node === undefined) {
          leaves.add(input);
        } else {
          usesInside.set(input, (usesInside.get(input) ?? 0) + 1);
          visit(input);
        }
      }
    }
    const wanted = new Set(targets);
    const sorted = [...nodes].sort((a, b) => a.serial - b.serial);
    const kept: Value[] = [];
    for (const node of sorted) {
      for (const value of node.outputs) {
        if (value.node === undefined) continue;
        const outside = value.uses > (usesInside.get(value) ?? 0);
        const temporary = value.handles > 0 && temporaries.has(value) && !value.skipped;
        if (wanted.has(value) || outside || (value.handles > 0 && !temporary)) kept.push(value);
        else if (temporary) value.skipped = true;
      }
    }
    // Leaves in order of first use, so that equal programs get equal keys.
    const ordered = new Set<Value>();
    for (const node of sorted) for (const input of node.inputs) if (leaves.has(input)) ordered.add(input);
    return { nodes: sorted, leaves: [...ordered], kept, read };
  }

  /** Lets go of what a node reads once nothing of it is pending any more. */
  #settle(node: LazyNode): void {
    if (!node.holds || node.outputs.some((value) => value.node === node && value.wanted)) return;
    node.holds = false;
    this.#pendingNodes--;
    for (const input of node.inputs) {
      input.uses--;
      if (!input.wanted) this.#drop(input);
    }
  }

  #drop(value: Value): void {
    if (value.buffer !== undefined) {
      value.buffer.release();
      value.buffer = undefined;
    } else if (value.node !== undefined) {
      this.#settle(value.node);
    }
  }

  #signature({ signatures }: Call, outputs: readonly Value[]): number {
    let shapes = '';
    for (const { shape, type } of outputs) shapes += `${type}[${shape.join()}]`;
    let number = signatures.get(shapes);
    if (number === undefined) {
      number = nextSignature++;
      signatures.set(shapes, number);
    }
    return number;
  }
}

/** Calls are known to all graphs, so their numbers are too. */
let nextSignature = 0;

const none: ReadonlySet<Value> = new Set();
