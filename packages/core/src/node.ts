export { outputPlace, temporaryName } from './node/output-place.js';
export { kindOf, openPlainFile, readPlainFile, readPlainText, systemProblem } from './node/plain-file.js';
