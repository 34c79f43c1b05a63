import type { ImageSource, ModelConfig } from '@mezzotint/app';
import type { Module, RandomStream } from '@mezzotint/core';
import type { ImageBatch, ImageSet } from '@mezzotint/data';
import type { KeepsTensors } from '@mezzotint/training/node';
import type * as tf from '@tensorflow/tfjs-core';
import type { LearningRateConfig, OptimizerConfig } from './config.js';

/** What is trained: a network, its loss, and how to see how it does. */
export interface Task {
  /** With its first weights. */
  readonly model: Module;
  /** `config.json` of the model folder that comes out. */
  readonly modelConfig: ModelConfig;
  /** Mean loss of a batch for the update `step` (the first is 1); all randomness comes from `rng`. */
  loss(batch: ImageBatch, rng: RandomStream, step: number): tf.Scalar;
  /** After each update of the model and before the averages. */
  afterUpdate?(rng: RandomStream): void;
  /** What is trained against the model, in turns with it. */
  readonly companion?: Companion;
  /** What else keeps tensors from update to update, by name. */
  readonly keepers?: Readonly<Record<string, KeepsTensors>>;
  /** Parts of the losses, means since last asked. */
  readonly parts?: {
    read(): Promise<Readonly<Record<string, number>>>;
    state(): Promise<Readonly<Record<string, readonly number[]>>>;
    resume(state: Readonly<Record<string, readonly number[]>>): void;
  };
  /** Looks at the model as it is now (with averaged weights); writes files into `folder` if it has any. */
  report(step: number, folder: string, signal: AbortSignal): Promise<Readonly<Record<string, number>>>;
}

/** A network with its own loss, which is updated after each update of the model, on the same batches. */
export interface Companion {
  /** Part of the names of its files and of its loss in the log. */
  readonly name: string;
  readonly model: Module;
  /** Updates of the model before its first. */
  readonly start: number;
  readonly learningRate: LearningRateConfig;
  readonly optimizer: OptimizerConfig;
  loss(batch: ImageBatch, rng: RandomStream): tf.Scalar;
}

/** What a task is made from. */
export interface TaskData {
  readonly images: ImageSet;
  readonly source: ImageSource;
}
