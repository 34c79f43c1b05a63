export type { Average, AverageState } from './averages/average.js';
export { ema } from './averages/ema.js';
export { constantDecay, type EmaDecay, powerWarmUp, ratioWarmUp } from './averages/ema-decay.js';
export { EmaOnDevice } from './averages/ema-on-device.js';
export { EmaOnHost } from './averages/ema-on-host.js';
export { dropLabels } from './label-dropout.js';
export {
  constantRate,
  cosineRate,
  inverseSqrtRate,
  type LearningRate,
  linearRate,
  warmUp,
} from './learning-rate.js';
export type { CleanBatch, DenoisingLossOptions, NetworkFunction } from './losses/denoising-loss.js';
export { type EdmLossOptions, edmLoss } from './losses/edm.js';
export { type HybridLossOptions, hybridLoss, vlbTerm } from './losses/hybrid.js';
export { epsLoss, vLoss, x0Loss } from './losses/mean-square.js';
export { minSnr } from './losses/min-snr.js';
export {
  cosineLevels,
  type ForwardProcess,
  logitNormalFlow,
  logNormalSigmas,
  uniformTimesteps,
} from './noise-levels/levels.js';
export { type NoiseDistribution, noiseLevels, type TimedNoiseLevel } from './noise-levels/noise-distribution.js';
export { independent, lowDiscrepancy, stratified, type Uniforms } from './noise-levels/uniforms.js';
export { adamW } from './optimizer/adamw.js';
export {
  ADAMW_KERNEL,
  type AdamWKernelAttributes,
  type AdamWKernelInputs,
  type AdamWKernelOutputs,
} from './optimizer/adamw-kernel.js';
export { AdamWOnDevice } from './optimizer/adamw-on-device.js';
export { AdamWOnHost } from './optimizer/adamw-on-host.js';
export { type AdamWOptions, matricesOnly } from './optimizer/adamw-options.js';
export type { Gradients, Optimizer, OptimizerState, UpdateOptions } from './optimizer/optimizer.js';
export type { ResumableIterator } from './trainer/resumable-iterator.js';
export { type TrainOptions, type TrainStep, train } from './trainer/train.js';
export { type ValueAndGradients, valueAndGradients } from './trainer/value-and-gradients.js';
