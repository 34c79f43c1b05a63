import type { Lower } from '../lowering/builder.js';
import type { Layout } from './layout.js';
import type { Value } from './value.js';

/** An operation with its attributes bound: what a node does. */
export interface Call {
  /** Name and attributes; two calls with the same key and the same inputs compute the same. */
  readonly key: string;
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

/** Attributes as text, other ones as another text: JSON alone writes null for infinities and NaN. */
export function keyOfAttributes(attributes: unknown): string {
  const text = String(JSON.stringify(attributes));
  if (!text.includes('null')) return text;
  return JSON.stringify(attributes, (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}

/** Declares an operation: `lower` writes its ONNX nodes. Attributes must be plain data: they are part of the cache key. */
export function operation<A extends object>(
  name: string,
  lower: (...args: [...Parameters<Lower>, A]) => ReturnType<Lower>,
  prefers?: (inputs: readonly Value[], attributes: A) => readonly (Layout | undefined)[],
): (attributes: A) => Call {
  return (attributes) => ({
    key: `${name}${keyOfAttributes(attributes)}`,
    lower: (builder, inputs, outputs) => lower(builder, inputs, outputs, attributes),
    prefers: prefers === undefined ? undefined : (inputs) => prefers(inputs, attributes),
  });
}
