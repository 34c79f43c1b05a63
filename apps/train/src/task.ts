import type { Module, RandomStream } from '@mezzotint/core';
import type { BatchShare } from '@mezzotint/data';
import type { Loss, LossValue, TrainHooks } from '@mezzotint/training';
import type { StatefulPart } from '@mezzotint/training/node';
import type { LearningRateConfig, OptimizerConfig } from './config.js';
import type { Frozen } from './frozen.js';
import type { TrainingBatch, TrainingBatches } from './training-data.js';

/** What is trained in the place of a frozen model. */
export interface Adapter extends Module {
  /** Runs `body`, which must be synchronous, with the model as the adapter changes it. */
  apply<T>(body: () => T): T;
  /** The same for as long as `body` takes, to sample or save. */
  withMergedWeights<T>(body: () => T | Promise<T>): Promise<T>;
}

/** What is trained: a network, its loss, and how to see how it does. */
export interface Task {
  /** With its first weights. */
  readonly model: Module;
  /** The part of the model that `init` gives weights to, where it has others; all of it when absent. */
  readonly network?: Module;
  /** Trained in the model's place, when there is one. */
  readonly adapter?: Adapter;
  /**
   * Where the vocabulary is learned of the captions: its hash, as a run goes on with the same vocabulary only, and how a new run begins
   * with the vocabulary and the weights of the folder `run`.
   */
  readonly vocabulary?: { readonly hash: string; beginWith(run: string): string };
  /** What is read anew at each start and not trained. */
  readonly frozen?: Frozen;
  /** A hash of the autoencoder of latent images, which belongs to the data. */
  readonly codec?: string;
  /** Lines for people about the model. */
  readonly notes?: readonly string[];
  /**
   * What the loss is given in the place of the data's own batches, when `run` (the run's folder) is there. `share` is that of
   * `stream`, for streams beside it.
   */
  batches?(stream: TrainingBatches, run: string, signal: AbortSignal, share?: BatchShare): Promise<TrainingBatches>;
  readonly loss: Loss<TrainingBatch>;
  /** The loss of a batch that is not trained on, without dropout; undefined where `report` scores such images by itself. */
  readonly validate?: (batch: TrainingBatch, rng: RandomStream) => LossValue;
  readonly hooks?: readonly TrainHooks[];
  /** What is trained against the model, in turns with it, by name. */
  readonly auxiliary?: Readonly<Record<string, Auxiliary>>;
  /** What else keeps tensors from update to update, by name. */
  readonly statefulParts?: Readonly<Record<string, StatefulPart>>;
  /** Writes the folder of the model as it is now (with averaged weights, an adapter merged); `half`: in half precision. */
  save?(folder: string, options: { readonly half: boolean }): Promise<void>;
  /** Writes the adapter into files of the run's folder; lines for people that name them. */
  saveAdapter?(run: string): Promise<readonly string[]>;
  /** Looks at the model as it is now (with averaged weights); writes files into `folder` if it has any. */
  report(step: number, folder: string, signal: AbortSignal): Promise<Readonly<Record<string, number>>>;
}

/** A network with its own loss, which is updated after each update of the model, on the same batches. */
export interface Auxiliary {
  readonly model: Module;
  /** Updates of the model before its first. */
  readonly start: number;
  readonly learningRate: LearningRateConfig;
  readonly optimizer: OptimizerConfig;
  readonly loss: Loss<TrainingBatch>;
}
