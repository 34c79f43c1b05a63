export { certifyGuidance, type GuidanceClaims } from './certify-guidance.js';
export { certifySolver } from './certify-solver.js';
export { type Component, type Distribution, gaussian, mixture, threePeaks } from './distributions.js';
export { claimsOf, type Integrate, type SolverClaims } from './integrator.js';
export { checkDraws, checkPoint, checkPure, checkResumes, checkSame } from './laws.js';
export { type MarginalVariance, marginalVariance } from './marginal.js';
export { type Convergence, type ConvergenceOptions, convergence } from './order.js';
export { noNoise, smoothSchedule, tableToClean, waves } from './probes.js';
export { assertConforms, type Check, formatReport, type Report, report } from './report.js';
