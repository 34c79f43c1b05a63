import type { ConfigOf } from './architecture.js';
import type { Module } from './module.js';

/** Shape and type of one tensor that a forward pass is given. */
export interface InputSpec {
  readonly shape: readonly number[];
  /** `float32` when absent. */
  readonly dtype?: 'float32' | 'int32';
}

/** One argument of a forward pass: a tensor, an object of tensors by name, or undefined for what is left out. */
export type InputArgument = InputSpec | { readonly [name: string]: InputSpec } | undefined;

/** A published (or our own) configuration by name: how to build its model and what it is fed. */
export interface Preset<M extends Module = Module> {
  readonly name: string;
  /** One line: what it is, paper, resolution. */
  readonly about: string;
  /** The whole configuration, a JSON value. */
  readonly config: ConfigOf<M>;
  /** Builds the model without allocating weights. */
  build(): M;
  /** The arguments of `forward` at the preset's own input size, batch 1. */
  inputs(): readonly InputArgument[];
}
