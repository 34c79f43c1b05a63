import { describe, type InputArgument, type InputSpec, type ModelCost } from '@mezzotint/core';
import type { Listed } from './presets.js';

/** What is printed of a preset with `--json`. */
export interface PresetReport {
  readonly name: string;
  readonly package: string;
  readonly about: string;
  readonly parameters: number;
  /** Parameters that training changes. */
  readonly trainable: number;
  /** Multiply-adds of one forward pass of `input`. */
  readonly macs: number;
  /** Two for each multiply-add. */
  readonly flops: number;
  /** By EDM2's convention: multiply-adds and weighted element-wise operations. */
  readonly edm2Flops: number;
  /** The tensors that a forward pass is given, in order; those of an object of tensors have a name. */
  readonly input: readonly { readonly name?: string; readonly shape: readonly number[]; readonly dtype: string }[];
}

/** Describes a preset for its own input shape. */
export function reportOf({ package: from, preset }: Listed): { report: PresetReport; cost: ModelCost } {
  const inputs = preset.inputs();
  const cost = describe(preset.build(), inputs);
  const { parameters, trainable, macs, flops, edm2Flops } = cost;
  const { name, about } = preset;
  const input = inputs.flatMap(tensors);
  return { report: { name, package: from, about, parameters, trainable, macs, flops, edm2Flops, input }, cost };
}

function tensors(input: InputArgument): PresetReport['input'] {
  if (input === undefined) return [];
  if (isTensor(input)) return [{ shape: input.shape, dtype: input.dtype ?? 'float32' }];
  return Object.entries(input).map(([name, { shape, dtype = 'float32' }]) => ({ name, shape, dtype }));
}

function isTensor(input: NonNullable<InputArgument>): input is InputSpec {
  return Array.isArray(input.shape);
}
