import type { ChosenEngine } from '../use-backend.js';

/** What a job is given beside its input. */
export interface JobContext<R = never> {
  /** Aborted when the caller's signal is. */
  readonly signal: AbortSignal;
  /** The engine of this thread. */
  readonly engine: ChosenEngine;
  /** Tells the caller something now, even if this thread goes on computing; and takes notice of an abort. */
  report(value: R): void;
}

/**
 * Work that a thread with an engine does when asked. Input, output and reports cross between threads by structured clone:
 * plain values and typed arrays, no tensors, functions or class instances.
 */
export type Job<I, O, R = never> = (input: I, context: JobContext<R>) => O | Promise<O>;

/** Jobs by name. */
export type Jobs = { readonly [name: string]: Job<never, unknown, never> };

/** What a job takes. */
export type Input<J> = J extends (input: infer I, ...rest: never[]) => unknown ? I : never;
/** What a job returns. */
export type Output<J> = J extends (...args: never[]) => infer O ? Awaited<O> : never;
/** What a job reports while it works. */
export type Report<J> = J extends (input: never, context: JobContext<infer R>) => unknown ? R : never;
