export { type CmmdOptions, cmmd } from './cmmd.js';
export {
  type Collected,
  type CollectedBatch,
  Collector,
  type CollectorPlan,
  type CollectorState,
  type Need,
  referenceStatistics,
} from './collector.js';
export { type DiversityState, DiversityStatistics } from './diversity.js';
export { FeatureStatistics, type FeatureStatisticsState } from './feature-statistics.js';
export type { Features } from './features.js';
export { frechetDistance, type Gaussian } from './frechet-distance.js';
export { type Extrapolation, frechetDistanceAtInfinity, type InfinityOptions } from './frechet-infinity.js';
export { type InceptionScoreOptions, inceptionScore } from './inception-score.js';
export { type InceptionScoreState, InceptionScoreStatistics } from './inception-score-statistics.js';
export { type Estimate, kernelDistance } from './kernel-distance.js';
export { kernelDistanceOfSubsets, type Spread, type SubsetOptions } from './kernel-distance-of-subsets.js';
export { type Memorization, memorization } from './memorization.js';
export { type Prdc, type PrdcOptions, prdc } from './prdc.js';
export {
  computeMetrics,
  type Metric,
  type MetricOptions,
  type MetricResult,
  type MetricValue,
  metricNamed,
  metrics,
} from './registry.js';
export { type Retrieval, type RetrievalOptions, retrieval } from './retrieval.js';
export { RowSample, type RowSampleState } from './row-sample.js';
export {
  type ClipScore,
  directionalSimilarity,
  pairedSimilarity,
  type SimilarityState,
  SimilarityStatistics,
} from './similarity.js';
