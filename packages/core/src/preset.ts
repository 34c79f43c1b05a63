import type { Module } from './module.js';

/** Shape and type of one tensor that goes into a forward pass. */
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype?: 'float32' | 'int32';
}

/** One argument of a forward pass: a tensor, an object of tensors (`{ labels, lowRes }`), or nothing. */
export type InputArgument = InputSpec | Readonly<Record<string, InputSpec>> | undefined;

/** A published (or our own) configuration by name: how to build its model and what it is fed. */
export interface Preset<M extends Module = Module> {
  readonly name: string;
  /** One line: what it is, paper, resolution. */
  readonly about: string;
  /** Builds the model without allocating weights. */
  build(): M;
  /** The arguments of `forward` at the preset's own input size, batch 1. */
  inputs(): readonly InputArgument[];
}
