// `npm test`: sets the repository up and runs every test. Extra arguments go to vitest.
import { bin, build, install } from './setup.mjs';

install();
build();
bin('vitest', ['run', ...process.argv.slice(2)]);
