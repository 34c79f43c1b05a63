export { FeatureStatistics, type FeatureStatisticsState } from './feature-statistics.js';
export type { Features } from './features.js';
export { frechetDistance, type Gaussian } from './frechet-distance.js';
export { type InceptionScoreOptions, inceptionScore } from './inception-score.js';
export { type Estimate, kernelDistance } from './kernel-distance.js';
export { kernelDistanceOfSubsets, type Spread, type SubsetOptions } from './kernel-distance-of-subsets.js';
export { type Prdc, type PrdcOptions, prdc } from './prdc.js';
