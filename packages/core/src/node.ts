export { kindOf, openPlainFile, readPlainFile, readPlainText, systemProblem } from './node/plain-file.js';
