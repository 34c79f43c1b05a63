export { nchwToNhwc } from './noise/layout.js';
export type { Json, NoiseSource } from './noise/noise-source.js';
export { perImageNoise, torchNoise } from './noise/stream-noise.js';
export { edm, epsilon, flow, type Parameterisation, type Readout, velocity, x0 } from './parameterisation.js';
export {
  clamped,
  clampedWithVariance,
  type DenoiserOptions,
  denoiser,
  type Network,
  varianceDenoiser,
  withoutVariance,
} from './precondition.js';
export { type SolverEntry, type SolverName, solvers } from './registry.js';
export { checkPair, type ModelFor, type RunOptions, run, type SavedRun, type Step, sample } from './run.js';
export type { Advance, Means, Need, Solver, State } from './solver.js';
export { type Dpmpp2mOptions, dpmpp2m } from './solvers/dpmpp-2m.js';
export { ddim, ddpm, ddpmLarge, ddpmLearned, euler } from './solvers/first-order.js';
export { heun } from './solvers/heun.js';
export type { Space, Term } from './spaces/space.js';
export { initialNoise, noised } from './start.js';
export {
  type BetaRange,
  cosineBetas,
  curveBetas,
  laplaceBetas,
  linearBetas,
  scaledLinearBetas,
  sigmoidBetas,
  zeroTerminalSnr,
} from './tables/betas.js';
export { type Clock, type DiscreteClockOptions, discreteClock, edmClock, flowClock } from './tables/clock.js';
export { type DiscreteProcess, discreteProcess, type ProcessOptions } from './tables/process.js';
export { exponentialSigmas, karrasSigmas, polyexponentialSigmas, type SigmaRange } from './tables/sigmas.js';
export {
  convertTable,
  customTable,
  describeTable,
  flowTable,
  halfLogSnr,
  type Kind,
  levelAt,
  levelOf,
  noiseRatio,
  ratioTable,
  sigmaTable,
  type Table,
  tableRows,
  timestepTable,
} from './tables/table.js';
export {
  type LinspaceOptions,
  leadingTimesteps,
  linspaceTimesteps,
  respacedTimesteps,
  trailingTimesteps,
} from './tables/timesteps.js';
export { type HostDenoiser, trace, traceEnd } from './trace.js';
