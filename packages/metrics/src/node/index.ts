export * from '../index.js';
export { type CollectOptions, collect, type Source, shardOf } from './collect.js';
export {
  computeEvaluation,
  type Evaluation,
  type EvaluationPlan,
  metricTitle,
  type ResultRow,
  type Side,
} from './evaluation.js';
export { plotEvaluation } from './plot.js';
export { mergeRuns, openRun } from './run-folder.js';
export { type Notes, readCheckpoint, readStatistics, writeStatistics } from './statistics-file.js';
