export { withoutGradient } from '@mezzotint/core';
// RIN's curves of gamma, which `gammaLevels` takes.
export { cosineGamma, logGamma, offsetCosineGamma, sigmoidGamma } from '@mezzotint/schedulers';
export type { Average, AverageState } from './averages/average.js';
export {
  constantDecay,
  type EmaDecay,
  ema,
  halfLifeDecay,
  powerWarmUp,
  ratioWarmUp,
} from './averages/ema.js';
export {
  type AverageProfile,
  posthocCoefficients,
  posthocEma,
  powerExponent,
  powerFunctionDecay,
  relativeWidth,
  type Snapshot,
} from './averages/power-function.js';
export {
  type AugmentationKind,
  augmentLowResolution,
  type ConditioningAugmentation,
  type LowResolutionInputs,
} from './conditioning-augmentation.js';
export { type InitOptions, type InitReport, initFrom } from './fine-tuning/init-from.js';
export {
  type AdaptableLayer,
  adaptableLayers,
  LoraAdapter,
  type LoraFileOptions,
  LoraLayer,
  type LoraLayout,
  type LoraOptions,
  loraConfig,
  loraStateDict,
} from './fine-tuning/lora.js';
export { TextualInversion, type TokenEmbedding } from './fine-tuning/textual-inversion.js';
export { checkpointGradients } from './gradient-checkpointing.js';
export { dropCaptions, dropLabels, shuffleTags, type TagOptions } from './label-dropout.js';
export {
  constantRate,
  cosineRate,
  inverseSqrtRate,
  type LearningRate,
  linearRate,
  warmUp,
} from './learning-rate.js';
export {
  type CleanBatch,
  type DenoisingLossOptions,
  denoisingLoss,
  epsLoss,
  flowLoss,
  type NetworkFunction,
  type Prediction,
  vLoss,
  x0Loss,
} from './losses/denoising.js';
export { type Distance, meanSquare, multiScale, pseudoHuber } from './losses/distances.js';
export { type EdmLossOptions, edmLoss } from './losses/edm.js';
export { type HybridLossOptions, hybridLoss, vlbTerm } from './losses/hybrid.js';
export { contrastiveLoss, crossEntropy } from './losses/matching.js';
export { withPriorPreservation } from './losses/prior-preservation.js';
export { byLogSnr, type LogSnrWeighting, logSnrWeightings, minSnr } from './losses/weightings.js';
export {
  type CosineOptions,
  cosineLevels,
  cosineMapFlow,
  type FlowDensity,
  type FlowOptions,
  type ForwardProcess,
  flowLevels,
  gammaLevels,
  independent,
  type LogSnrLevel,
  logitNormalFlow,
  logNormalSigmas,
  logSnrLevels,
  lowDiscrepancy,
  modeFlow,
  type NoiseDistribution,
  noiseLevels,
  type SigmaDensity,
  stratified,
  type TimedNoiseLevel,
  type Uniforms,
  uniformFlow,
  uniformTimesteps,
} from './noise-levels/levels.js';
export {
  type AdamOptions,
  adam,
  adamW,
  lamb,
  noDecayOnBiasAndNorm,
  type Trainable,
} from './optimizer/adam.js';
export {
  ADAMW_KERNEL,
  type AdamWKernelAttributes,
  type AdamWKernelInputs,
  type AdamWKernelOutputs,
} from './optimizer/adamw-kernel.js';
export {
  clippingFactor,
  type Gradients,
  globalNorm,
  type Optimizer,
  type OptimizerState,
  type UpdateOptions,
} from './optimizer/optimizer.js';
export { layPlain } from './plain-params.js';
export {
  defaultRecipe,
  type Objective,
  type OptimizerSettings,
  type Recipe,
  type RecipeData,
  recipeNamed,
  recipes,
} from './recipes.js';
export {
  type AuxiliaryNetwork,
  type Contribution,
  type HookInput,
  type Loss,
  type LossInput,
  type NetworkUpdate,
  type ResumableIterator,
  type TrainHooks,
  type TrainOptions,
  type TrainStep,
  train,
} from './train.js';
export { matchesPattern, type TrainableOptions, trainableParams } from './trainable-params.js';
export {
  type LossValue,
  type Observe,
  type ValueAndGradients,
  valueAndGradients,
} from './value-and-gradients.js';
