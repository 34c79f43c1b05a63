import type { Reader } from './reader.js';
import { configReaders } from './readers/configs.js';
import { pipelineReaders } from './readers/pipelines.js';
import { trainingReaders } from './readers/training.js';
import { weightReaders } from './readers/weights.js';

/** Every reader of the project. */
export const readers: readonly Reader[] = [...weightReaders, ...configReaders, ...pipelineReaders, ...trainingReaders];
