export { type Append, type WriteOptions, writeFileAtomically } from './node/atomic-file.js';
export { outputPlace, temporaryName } from './node/output-place.js';
export { kindOf, openPlainFile, readPlainFile, readPlainText, systemProblem } from './node/plain-file.js';
export { replaceFolder } from './node/replace-folder.js';
