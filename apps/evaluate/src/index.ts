export { type Images, type Reading, readImages } from './reader.js';
export { frechet, labelAccuracy, type Scores, score } from './scores.js';
