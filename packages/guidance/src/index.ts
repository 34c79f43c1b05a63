export { type ClassifierFreeOptions, classifierFree, classifierFreeBatched } from './classifier-free.js';
export { classifierGuidance, type LogProbability } from './classifier-guidance.js';
export { guideVariance } from './guide-variance.js';
