import type { Module, RandomStream } from '@mezzotint/core';
import type { LoraAdapter, Loss, LossValue, TrainHooks } from '@mezzotint/training';
import type { StatefulPart } from '@mezzotint/training/node';
import type { LearningRateConfig, OptimizerConfig } from './config.js';
import type { TrainingBatch } from './training-data.js';

/** What is trained: a network, its loss, and how to see how it does. */
export interface Task {
  /** With its first weights. */
  readonly model: Module;
  /** The part of the model that `init` gives weights to, where it has others; all of it when absent. */
  readonly network?: Module;
  /** Trained in the model's place, when there is one. */
  readonly adapter?: LoraAdapter;
  readonly loss: Loss<TrainingBatch>;
  /** The loss of a batch that is not trained on, without dropout; undefined where `report` scores such images by itself. */
  readonly validate?: (batch: TrainingBatch, rng: RandomStream) => LossValue;
  readonly hooks?: readonly TrainHooks[];
  /** What is trained against the model, in turns with it, by name. */
  readonly auxiliary?: Readonly<Record<string, Auxiliary>>;
  /** What else keeps tensors from update to update, by name. */
  readonly statefulParts?: Readonly<Record<string, StatefulPart>>;
  /** Writes the folder of the model as it is now (with averaged weights); `half`: in half precision. */
  save(folder: string, options: { readonly half: boolean }): Promise<void>;
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
