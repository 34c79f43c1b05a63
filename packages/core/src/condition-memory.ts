import * as tf from '@tensorflow/tfjs-core';
import { InvalidArgumentError } from './errors.js';
import type { Module } from './module.js';
import { stepBoundary } from './step-boundary.js';

/**
 * What networks make of conditions that stay as they are during a run of a sampler (keys and values of a text, embeddings of pooled
 * text): computed at the first step and kept until the run ends. The numbers are those that would be computed at each step.
 */
export interface ConditionMemory {
  /** Frees what is kept. */
  dispose(): void;
}

interface Memory extends ConditionMemory {
  /** Ids of tensors that stay as they are. */
  readonly constant: Set<number>;
  readonly kept: Map<object, Map<number, readonly tf.Tensor[]>>;
  /** Something was computed that has not run yet. */
  fresh: boolean;
}

/** One slot in a program, also when several copies of this package are in it. */
const KEY = Symbol.for('mezzotint.condition-memory');
const holder = globalThis as { [KEY]?: { active: Memory | undefined } };
holder[KEY] ??= { active: undefined };
const slot = holder[KEY];

/** A memory for a run. The conditions must live and stay as they are until it is disposed; they stay the caller's. */
export function conditionMemory(conditions: Iterable<tf.Tensor>): ConditionMemory {
  const memory: Memory = {
    constant: new Set(Array.from(conditions, ({ id }) => id)),
    kept: new Map(),
    fresh: false,
    dispose() {
      for (const results of memory.kept.values()) tf.dispose([...results.values()].flat());
      memory.kept.clear();
      memory.constant.clear();
    },
  };
  return memory;
}

/**
 * Runs `body` with a memory that the networks inside it keep constant results in.
 *
 * @throws InvalidArgumentError when `body` is asynchronous: its later parts would run without the memory
 */
export function withConditionMemory<T>(memory: ConditionMemory, body: () => T): T {
  const outer = slot.active;
  slot.active = memory as Memory;
  try {
    const result = body();
    if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
      throw new InvalidArgumentError('withConditionMemory', 'the body must be synchronous, got a promise');
    }
    return result;
  } finally {
    slot.active = outer;
  }
}

/**
 * What `compute` makes of a condition: computed once where a memory is in force and the condition (or what it was made of) is one of
 * its own, else each time. What is kept is the memory's: the caller must not dispose it.
 *
 * @param by what makes it, one object for each kind of result: a module, for example
 */
export function recalled<T extends readonly tf.Tensor[]>(by: object, condition: tf.Tensor, compute: () => T): T {
  const memory = slot.active;
  if (!memory?.constant.has(condition.id)) return compute();
  let results = memory.kept.get(by);
  if (results === undefined) {
    results = new Map();
    memory.kept.set(by, results);
  }
  let kept = results.get(condition.id) as T | undefined;
  if (kept === undefined) {
    kept = tf.tidy(() => compute().map((tensor) => tf.keep(tf.clone(tensor)))) as unknown as T;
    for (const { id } of kept) memory.constant.add(id);
    results.set(condition.id, kept);
    memory.fresh = true;
  }
  return kept;
}

/** A module that makes something of a condition which may be kept. */
export interface Recalling {
  /** Computes it, through `recalled`. */
  recall(condition: tf.Tensor): void;
}

/**
 * Lets all modules of a network that are `Recalling` compute what they keep of a condition, in one program of a lazy engine, so
 * that the first step is the same program as the others. Does nothing where no memory is in force.
 */
export function recallAll(network: Module, condition: tf.Tensor): void {
  const memory = slot.active;
  if (!memory?.constant.has(condition.id)) return;
  for (const module of recallingModules(network)) module.recall(condition);
  if (memory.fresh) stepBoundary();
  memory.fresh = false;
}

const found = new WeakMap<object, readonly Recalling[]>();

function recallingModules(network: Module): readonly Recalling[] {
  let modules = found.get(network);
  if (modules === undefined) {
    const all = new Set<object>();
    const visit = (node: unknown) => {
      if (typeof node !== 'object' || node === null || all.has(node) || ArrayBuffer.isView(node)) return;
      all.add(node);
      for (const child of Object.values(node)) visit(child);
    };
    visit(network);
    modules = [...all].filter((node): node is object & Recalling => typeof (node as Recalling).recall === 'function');
    found.set(network, modules);
  }
  return modules;
}
