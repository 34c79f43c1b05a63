export { brokenNoise } from './broken-noise.js';
export { productsSaved } from './condition-memory.js';
export { fixtures, relativeError, toTensor } from './fixtures.js';
export {
  bits,
  type FormulaRule,
  formulaTensor,
  formulaWeights,
  inceptionWeight,
  lpipsWeight,
  noisyRamp,
  picture,
  plainWeight,
} from './formula.js';
export { type CheckOptions, checkGradients, gradientsOf } from './gradients.js';
export { runReadmeExample } from './readme-example.js';
export { type RinOrigin, rinWeights } from './rin-weights.js';
