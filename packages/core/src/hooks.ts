import type * as tf from '@tensorflow/tfjs-core';
import { InvalidArgumentError } from './errors.js';

/** What one softmax attention is about to compute: softmax(scale q k^T + mask) v. */
export interface AttentionInputs {
  /** `[N, h, T, d]`. */
  readonly q: tf.Tensor4D;
  /** `[N, h, S, d]`. */
  readonly k: tf.Tensor4D;
  /** `[N, h, S, e]`. */
  readonly v: tf.Tensor4D;
  /** Added to the scores, `[N or 1, h or 1, T, S]`. */
  readonly mask: tf.Tensor4D | undefined;
  /** Factor of the scores. */
  readonly scale: number;
}

/** One attention, as a hook sees it. */
export interface AttentionCall extends AttentionInputs {
  /** The module that asks; undefined where an architecture does not say. */
  readonly by: object | undefined;
  /** Computes it, with other inputs where some are given: `[N, h, T, e]`. */
  attend(changed?: Partial<AttentionInputs>): tf.Tensor4D;
}

/** What may be changed in a network while it runs, without touching the network. */
export interface NetworkHooks {
  /** Answers in the place of an attention, `[N, h, T, e]`; called for every attention of the pass. */
  readonly attention?: (call: AttentionCall) => tf.Tensor4D;
  /** True for a layer that is to pass its input through as it is. */
  readonly skips?: (layer: object) => boolean;
}

interface Slot {
  active: NetworkHooks | undefined;
}

/** One slot in a program, also when several copies of this package are in it. */
const KEY = Symbol.for('mezzotint.hooks');
const holder = globalThis as { [KEY]?: Slot };
holder[KEY] ??= { active: undefined };
const slot: Slot = holder[KEY];

/**
 * Runs `body` with hooks that the attentions and layers inside it consult. Hooks nest: the inner ones are asked first,
 * and what they leave to `attend` goes to the outer ones. Outside of `body` nothing is changed.
 *
 * @returns what `body` returned
 * @throws InvalidArgumentError when `body` is asynchronous: its later parts would run without the hooks
 */
export function withHooks<T>(hooks: NetworkHooks, body: () => T): T {
  const outer = slot.active;
  slot.active = outer ? nested(hooks, outer) : hooks;
  try {
    const result = body();
    if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
      throw new InvalidArgumentError('withHooks', 'the body must be synchronous, got a promise: await outside of it');
    }
    return result;
  } finally {
    slot.active = outer;
  }
}

/** The hooks that are in force; undefined (the usual case) when there are none. For ops and layers. */
export function activeHooks(): NetworkHooks | undefined {
  return slot.active;
}

/** True when a hook in force wants this layer left out: a layer whose input and output have one shape asks it first. */
export function isSkipped(layer: object): boolean {
  return slot.active?.skips?.(layer) ?? false;
}

function nested(inner: NetworkHooks, outer: NetworkHooks): NetworkHooks {
  const first = inner.attention;
  const second = outer.attention;
  const attention =
    first && second
      ? (call: AttentionCall) => first({ ...call, attend: (changed) => second(changedCall(call, changed)) })
      : (first ?? second);
  return {
    ...(attention && { attention }),
    skips: (layer) => (inner.skips?.(layer) ?? false) || (outer.skips?.(layer) ?? false),
  };
}

/** The same call with other inputs; what is left of it to compute starts from those. */
function changedCall(call: AttentionCall, changed: Partial<AttentionInputs> = {}): AttentionCall {
  return { ...call, ...changed, attend: (more) => call.attend({ ...changed, ...more }) };
}
