export { guideVariance, thresholded as dynamicThresholding } from '@mezzotint/schedulers';
export {
  type AdaptiveProjectedOptions,
  adaptiveProjected,
  combineProjected,
  type MomentumGuidance,
  type ProjectedMixOptions,
  type ProjectionOptions,
  project,
  projectedMix,
  type SavedMomentum,
} from './adaptive-projected.js';
export { type Grid, type GridOf, gridLike } from './attention-grid.js';
export { type AutoguidanceOptions, autoguidance, awayFrom } from './autoguidance.js';
export {
  type ClassifierFreeOptions,
  classifierFree,
  classifierFreeBatched,
  combineClassifierFree,
  type Formulation,
  type ScaleOptions,
} from './classifier-free.js';
export {
  classifierGuidance,
  classifierMeanGuidance,
  directEstimateGuidance,
  estimateGuidance,
  type GradientGuidanceOptions,
  type LogProbability,
} from './classifier-guidance.js';
export { type ClipGuidanceOptions, clipGuidance, sphericalDistance } from './clip-guidance.js';
export { composed, type Part, type Region, regional } from './composition.js';
export { distilledGuidance } from './distilled.js';
export { combineFirstChannels } from './first-channels.js';
export {
  combineFrequencyDecoupled,
  type FrequencyDecoupledOptions,
  type FrequencyOptions,
  frequencyDecoupled,
} from './frequency-decoupled.js';
export { guidanceInterval, type Interval, intervalOfSteps, scaleInInterval } from './interval.js';
export { type Layers, layersAt, middleSelfAttention } from './layers.js';
export {
  combineMagnitudeAware,
  type MagnitudeAwareOptions,
  type MagnitudeOptions,
  magnitudeAware,
} from './magnitude-aware.js';
export { type PerpNegOptions, perpNeg } from './perp-neg.js';
export { type LayerGuidanceOptions, perturbedAttention } from './perturbed-attention.js';
export { type PlusPlusOptions, plusPlus, plusPlusScale } from './plus-plus.js';
export { fromPyramid, laplacianPyramid } from './pyramid.js';
export {
  type BuiltGuidance,
  commonGuidanceOptions,
  composedInCode,
  createGuidance,
  type GuidanceContext,
  type GuidanceNeed,
  type GuidanceOption,
  type GuidanceOptions,
  type GuidanceRecord,
  guidanceNamed,
  guidanceOptionProblems,
  guidances,
  wholeGuidanceOptions,
} from './registry.js';
export { combineRescaled } from './rescale.js';
export type { Scale } from './scale.js';
export { type SelfAttentionOptions, selfAttention } from './self-attention.js';
export { skipLayer } from './skip-layer.js';
export { type SmoothedEnergyOptions, smoothedEnergy } from './smoothed-energy.js';
export { combineTangential, type TangentialOptions, tangential } from './tangential.js';
export { together } from './together.js';
export { type Combination, guided, type PredictionOption, type TwoPassOptions } from './two-pass.js';
export { combineZeroStar, type ZeroStarOptions, zeroStar } from './zero-star.js';
