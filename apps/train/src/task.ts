import type { ImageSource, ModelConfig } from '@mezzotint/app';
import type { Module, RandomStream } from '@mezzotint/core';
import type { ImageBatch, ImageSet } from '@mezzotint/data';
import type * as tf from '@tensorflow/tfjs-core';

/** What is trained: a network, its loss, and how to see how it does. */
export interface Task {
  readonly model: Module;
  /** `config.json` of the model folder that comes out. */
  readonly modelConfig: ModelConfig;
  /** Mean loss of a batch; all randomness comes from `rng`. */
  loss(batch: ImageBatch, rng: RandomStream): tf.Scalar;
  /** Looks at the model as it is now (with averaged weights); writes files into `folder` if it has any. */
  report(step: number, folder: string, signal: AbortSignal): Promise<Readonly<Record<string, number>>>;
}

/** What a task is made from. */
export interface TaskData {
  readonly images: ImageSet;
  readonly source: ImageSource;
}
