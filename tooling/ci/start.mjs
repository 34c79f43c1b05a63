// `npm start` as a newcomer runs it, twice: the picture must be there, and the second run must be quick.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const picture = join(root, 'out', 'emoji.png');
rmSync(picture, { force: true });

const pictures = [1, 2].map(() => {
  const start = Date.now();
  const done = spawnSync('npm', ['start', '--silent'], {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  process.stdout.write(done.stdout);
  if (done.status !== 0) {
    process.stderr.write(done.stderr);
    process.exit(1);
  }
  console.log(`npm start: ${((Date.now() - start) / 1000).toFixed(1)} s`);
  const bytes = readFileSync(picture);
  if (bytes.subarray(1, 4).toString() !== 'PNG') throw new Error(`${picture} is not a PNG`);
  return bytes;
});
if (!pictures[0].equals(pictures[1])) throw new Error('the same seed gave another picture');
