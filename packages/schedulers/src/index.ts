export { type Clipping, withClipping } from './clipping.js';
export { type Posterior, posterior } from './coefficients.js';
export { augmentationLevel, MOST_AUGMENTATION } from './conditioning-augmentation.js';
export { type BoundaryOptions, consistencyBoundary } from './consistency-boundary.js';
export { type FlowMatchOptions, flowMatchSampler } from './diffusers/flow-match.js';
export { type DiffusersSamplerOptions, samplerFromDiffusers } from './diffusers/sampler.js';
export { type Likelihood, type LikelihoodOptions, logLikelihood } from './likelihood.js';
export { type BrownianOptions, brownianNoise } from './noise/brownian-noise.js';
export { nchwToNhwc } from './noise/layout.js';
export type { Json, NoiseSource } from './noise/noise-source.js';
export { perImageNoise, torchNoise } from './noise/stream-noise.js';
export {
  convertPrediction,
  edm,
  epsilon,
  flow,
  type Parameterisation,
  type Readout,
  selfPreconditioned,
  vPrediction,
  x0,
} from './parameterisation.js';
export {
  clamped,
  clampedWithVariance,
  type DenoiserOptions,
  denoiser,
  type Network,
  thresholded,
  varianceDenoiser,
  withoutVariance,
} from './precondition.js';
export {
  type LogSnrCurve,
  logSnrOf,
  type ProcessConfig,
  type ProcessSamplerOptions,
  processOf,
  samplerFromProcess,
} from './process-sampler.js';
export { createSolver, isSolverName, type SolverEntry, type SolverName, solvers } from './registry.js';
export {
  checkPair,
  type ModelFor,
  type RunOptions,
  run,
  type SavedRun,
  type Step,
  type StepRange,
  sample,
  startLevel,
  stepsOf,
} from './run.js';
export {
  type AfterLimit,
  type Guide,
  guideVariance,
  type Sampler,
  type SamplerParts,
  type ScheduleRequest,
  sampler,
} from './sampler.js';
export { type AlignedSteps, alignYourSteps, interpolateSigmas } from './schedules/align-your-steps.js';
export {
  type BetaRange,
  cosineBetas,
  curveBetas,
  laplaceBetas,
  linearBetas,
  scaledLinearBetas,
  sigmoidBetas,
  zeroTerminalSnr,
} from './schedules/betas.js';
export { consistencyTimesteps } from './schedules/consistency.js';
export {
  type FluxMuOptions,
  fluxMu,
  type GridFlowOptions,
  gridFlowSigmas,
  insetFlowSigmas,
  openFlowSigmas,
  resolutionShift,
  shiftFlow,
  shiftFlowByMu,
  shiftFlowLinearly,
  stretchFlow,
  uniformFlowSigmas,
} from './schedules/flow.js';
export { cosineGamma, logGamma, offsetCosineGamma, sigmoidGamma } from './schedules/gamma.js';
export {
  cosineLogSnr,
  interpolatedCosineLogSnr,
  type LogSnr,
  type LogSnrRange,
  logSnrSchedule,
  logSnrTime,
  shiftedCosineLogSnr,
} from './schedules/log-snr.js';
export { type DiscreteProcess, discreteProcess, noiseRatioAt, type ProcessOptions } from './schedules/process.js';
export {
  convertSchedule,
  customSchedule,
  describeSchedule,
  flowSchedule,
  halfLogSnr,
  levelAt,
  levelOf,
  type NoiseSchedule,
  noiseRatio,
  ratioSchedule,
  type ScheduleKind,
  scheduleRows,
  sigmaSchedule,
  timestepSchedule,
} from './schedules/schedule.js';
export {
  betaSigmas,
  exponentialSigmas,
  karrasSigmas,
  luSigmas,
  polyexponentialSigmas,
  type SigmaRange,
  type VpOptions,
  vpSigmas,
} from './schedules/sigmas.js';
export { type DiscreteTimeOptions, discreteTime, edmTime, flowTime, type TimeOf } from './schedules/time-of.js';
export {
  type LinspaceOptions,
  leadingTimesteps,
  linspaceTimesteps,
  respacedTimesteps,
  trailingTimesteps,
} from './schedules/timesteps.js';
export type { Need, Solver, SolverContext, State, StepResult } from './solver.js';
export {
  optionProblem,
  type SolverOption,
  type SolverOptions,
  scheduleOptions,
  solverOptionProblems,
} from './solver-options.js';
export { type Algorithm2Options, algorithm2, ddpmInterpolated } from './solvers/algorithm-2.js';
export { eulerAncestral } from './solvers/ancestral.js';
export { consistency, tcd } from './solvers/consistency.js';
export { deis } from './solvers/deis.js';
export { type DpmAdaptiveOptions, dpmAdaptive } from './solvers/dpm-adaptive.js';
export { dpmFast } from './solvers/dpm-fast.js';
export {
  type DpmOptions,
  type DpmSdeOptions,
  dpmpp,
  dpmpp2m,
  dpmppSde,
  dpmSolver,
  dpmSolverSde,
} from './solvers/dpm-multistep.js';
export { dpmppSinglestep, dpmSolverSinglestep } from './solvers/dpm-singlestep.js';
export { dpm2, dpm2Ancestral } from './solvers/dpm2.js';
export { dpmpp2sAncestral, dpmppSdeSinglestep, type EtaOptions } from './solvers/dpmpp-sde.js';
export { type ChurnOptions, edmStochastic } from './solvers/edm-stochastic.js';
export { type DdimOptions, ddim, ddpm, ddpmLarge, ddpmLearned, euler } from './solvers/first-order.js';
export { flowHeun, heun } from './solvers/heun.js';
export { ddimInverse, type EdictOptions, edict, edictInverse, edictStart } from './solvers/inversion.js';
export { type LmsOptions, lms } from './solvers/lms.js';
export { type IpndmOptions, ipndm, type PlmsOptions, plms, plmsDiscrete, pndm, pndmDiscrete } from './solvers/pndm.js';
export { type CorrectorOptions, pcVe, pcVp } from './solvers/predictor-corrector.js';
export { type RepaintOptions, repaint } from './solvers/repaint.js';
export { type RestartInterval, restart } from './solvers/restart.js';
export { type SaOptions, saSolver } from './solvers/sa-solver.js';
export { type UniPcOptions, unipc } from './solvers/unipc.js';
export type { Space, Term } from './spaces/space.js';
export { initialNoise, mixed, noised, standardNoise } from './start.js';
export { type HostDenoiser, trace, traceEnd } from './trace.js';
