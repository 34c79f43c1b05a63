import type { Lower } from '../lowering/builder.js';
import { keyOfAttributes } from './attributes.js';
import type { Layout } from './layout.js';
import type { Value } from './value.js';

/** An operation with its attributes bound: what a node does. */
export interface Call {
  /** Name and attributes; two calls with the same key and the same inputs compute the same. */
  readonly key: string;
  /** The numbers that stand for it in cache keys, by the shapes of its outputs. */
  readonly signatures: Map<string, number>;
  readonly lower: Lower;
  /** The layouts in which stored inputs are best kept for good (convolution weights), asked once a run. */
  readonly prefers?: ((inputs: readonly Value[]) => readonly (Layout | undefined)[]) | undefined;
}

/** A computation that was asked for and not yet run. */
export interface LazyNode {
  /** Order of creation, which is a topological order. */
  readonly serial: number;
  readonly call: Call;
  /** The kernel that asked for it, for errors. */
  readonly kernel: string;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Number that stands for the call and the shapes of its outputs in cache keys. */
  readonly signature: number;
  /** False once its inputs were let go of. */
  holds: boolean;
}

/** Calls that an operation keeps, with all their attributes; a network has hundreds. */
const MAX_KNOWN_CALLS = 4096;

/** Declares an operation: `lower` writes its ONNX nodes. Attributes must be plain data: they are part of the cache key. */
export function operation<A extends object>(
  name: string,
  lower: (...args: [...Parameters<Lower>, A]) => ReturnType<Lower>,
  prefers?: (inputs: readonly Value[], attributes: A) => readonly (Layout | undefined)[],
): (attributes: A) => Call {
  // A step asks for the same few hundred calls again and again.
  const known = new Map<string, Call>();
  return (given) => {
    const key = `${name}${keyOfAttributes(given)}`;
    let call = known.get(key);
    if (call === undefined) {
      // A copy, because a caller may change its lists afterwards.
      const attributes = structuredClone(given);
      call = {
        key,
        signatures: new Map(),
        lower: (builder, inputs, outputs) => lower(builder, inputs, outputs, attributes),
        prefers: prefers === undefined ? undefined : (inputs) => prefers(inputs, attributes),
      };
      if (known.size === MAX_KNOWN_CALLS) known.clear(); // shapes that change for ever must not stay for ever
      known.set(key, call);
    }
    return call;
  };
}
