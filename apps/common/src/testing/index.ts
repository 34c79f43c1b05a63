export { writeImageFolder } from './image-folder.js';
export { type Outcome, runApp } from './run-app.js';
export { tinyConfig, tinyNetwork, writeTinyModel } from './tiny-model.js';
