// Makes the tensorflow engine from its wheel and runs the engine-dependent tests on it; skipped where it cannot be made.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const made = spawnSync(process.execPath, ['--import', 'tsx', 'tooling/tensorflow/src/main.ts'], {
  cwd: root,
  encoding: 'utf8',
});
process.stdout.write(made.stdout);
process.stderr.write(made.stderr);
if (made.status !== 0) process.exit(1);
if (made.stdout.includes('skipped:')) process.exit(77);
const tests = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=dot',
    '--project',
    'layers',
    '--project',
    'unet',
    '--project',
    'training',
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, MEZZOTINT_TEST_ENGINES: 'tensorflow' },
  },
);
process.exitCode = tests.status ?? 1;
