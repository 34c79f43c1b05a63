// `npm start`: sets the repository up and samples a labelled grid of digits from the checkpoint in models/digits.
import { join } from 'node:path';
import { build, install, root, run } from './setup.mjs';

install();
build();
run(process.execPath, [
  join(root, 'apps', 'sample', 'dist', 'main.js'),
  ...['--model', join(root, 'models', 'digits'), '--out', join(root, 'out', 'digits.png'), '--overwrite'],
  ...process.argv.slice(2),
]);
