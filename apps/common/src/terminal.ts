// What an app needs that is thin over packages: no models, no networks.
export { type CommandContext, exitBadInput, exitInterrupted, runCommand } from './command.js';
export { checkConfig, readConfig } from './config-file.js';
export { flagOf, oneOf, realNumber, seedNumber, wholeNumber } from './options.js';
export { prepareOutput } from './output-file.js';
export { type Progress, startProgress } from './progress.js';
export { readPrompts } from './prompts-file.js';
