import type { Module } from './module.js';

/** Shape and type of one input of a forward pass; `undefined` leaves an optional argument out. */
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype?: 'float32' | 'int32';
}

/** A published (or our own) configuration by name: how to build its model and what it is fed. */
export interface Preset<M extends Module = Module> {
  readonly name: string;
  /** One line: what it is, paper, resolution. */
  readonly about: string;
  /** Builds the model without allocating weights. */
  build(): M;
  /** The arguments of `forward` at the preset's own input size, batch 1. */
  inputs(): readonly (InputSpec | undefined)[];
}
