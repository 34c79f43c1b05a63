import { type ClassifierModelConfig, type ModelFolder, openClassifier } from '@mezzotint/app';
import type { JobContext } from '@mezzotint/backend/worker';
import { type ClassifierNetwork, InvalidArgumentError } from '@mezzotint/core';
import { type Images, type Reading, readImages } from './reader.js';

/** Images to read, and how many at once. */
export interface ReadingPlan extends Images {
  readonly batchSize: number;
}

/** Jobs of an engine's thread that opens a classifier and reads images with it; for `serveJobs`. */
export function readingJobs() {
  let opened: ModelFolder<ClassifierModelConfig, ClassifierNetwork> | undefined;
  return {
    /** Opens a classifier in the place of the one before; returns its configuration. */
    async openClassifier(path: string): Promise<ClassifierModelConfig> {
      opened?.model.dispose();
      opened = undefined;
      opened = await openClassifier(path);
      return opened.config;
    },
    /** Reads images with the opened classifier; reports how many it has read. */
    readImages({ batchSize, ...images }: ReadingPlan, { signal, report }: JobContext<number>): Promise<Reading> {
      if (opened === undefined)
        throw new InvalidArgumentError('readImages', 'expected openClassifier to be asked for first');
      return readImages(opened.model, images, { batchSize, signal, onImages: report });
    },
  };
}

export type ReadingJobs = ReturnType<typeof readingJobs>;
