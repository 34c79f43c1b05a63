import type { Module, StateDict, TorchGenerator } from '@mezzotint/core';
import type { Average } from '../averages/average.js';
import type { Optimizer } from '../optimizer/optimizer.js';

/** A network that is trained beside the model, with its own optimizer: a discriminator. */
export type AuxiliaryState = Pick<Trained, 'model' | 'optimizer'>;

/** Anything else whose tensors an update depends on, such as the running means of an EMA codebook. */
export interface StatefulPart {
  save(): Promise<StateDict>;
  load(state: StateDict): unknown;
}

/** What has weights or state of the size of the weights. Names become parts of file names. */
export interface Trained {
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly averages?: Readonly<Record<string, Average>>;
  readonly auxiliary?: Readonly<Record<string, AuxiliaryState>>;
  readonly statefulParts?: Readonly<Record<string, StatefulPart>>;
}

/** All that an update depends on. */
export interface TrainingState extends Trained {
  /** Updates done. */
  readonly step: number;
  /** Every random stream of the run, by name. */
  readonly streams?: Readonly<Record<string, TorchGenerator>>;
  /** Where the data stands (`ResumableIterator.state()`), as JSON. */
  readonly data?: unknown;
  /** What the application wants back (its configuration, its history), as JSON. */
  readonly extra?: unknown;
}

/** A checkpoint that was found whole. The weights stay on the disk until `load`. */
export interface SavedCheckpoint {
  readonly folder: string;
  readonly step: number;
  readonly streams: Readonly<Record<string, TorchGenerator>>;
  readonly data: unknown;
  readonly extra: unknown;
  /** Newer checkpoints that were passed over because they are damaged, and what is wrong with them. */
  readonly damaged: readonly { readonly folder: string; readonly problem: string }[];
  /** Loads weights, moments and averages; throws a WeightsMismatchError when they are of another model. */
  load(into: Trained): Promise<void>;
}
