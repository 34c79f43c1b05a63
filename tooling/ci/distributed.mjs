// Trains the digits for a few updates with one process, two ranks and four ranks of Open MPI: the weights must be the same bytes.
// Then ranks with different settings must be refused by name, and a rank that is killed must end the job. Skipped, with the
// reason, where there is no mpirun of Open MPI or no koffi.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const folders = (process.env.PATH ?? '').split(delimiter);
const mpirun = ['mpirun.openmpi', 'mpirun'].flatMap((name) => folders.map((f) => join(f, name))).find(existsSync);
const version = mpirun && spawnSync(mpirun, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0];
if (!/Open ?MPI|OpenRTE|PRRTE/i.test(version ?? '')) {
  console.log('skipped: no mpirun of Open MPI on the path; on Debian: apt-get install openmpi-bin libopenmpi3');
  process.exit(77);
}
try {
  createRequire(join(root, 'apps', 'train', 'package.json'))('koffi');
} catch (error) {
  console.log(`skipped: koffi does not load here: ${error.message}`);
  process.exit(77);
}
console.log(version); // "Open MPI", or "OpenRTE", its launcher

const work = mkdtempSync(join(tmpdir(), 'mezzotint-distributed-'));
const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
const node = ['--conditions=@mezzotint/source', '--import', './tooling/setup/typescript.mjs'];
const train = [...node, 'apps/train/src/main.ts'];
const network = {
  ...{ imageSize: 28, inChannels: 1, outChannels: 1, modelChannels: 8, channelMult: [1, 2], resBlocks: 1 },
  ...{ attentionResolutions: [2], heads: { count: 1 }, headsUp: { count: 1 }, attentionOrder: 'new', groups: 4 },
  ...{ timeConditioning: 'scale-shift', resampling: 'pool', dropout: 0.1, classes: 10, nullLabel: true },
};
const config = (name, change = {}) => {
  const file = join(work, `${name}.json`);
  const whole = {
    task: 'diffusion',
    ...{ data: { kind: 'digits' }, network, recipe: 'v-cosine', steps: 6, batchSize: 8, microBatches: 4 },
    ...{ every: { log: 1, sample: 1000, checkpoint: 3 }, sampling: { solver: 'ddim', steps: 2, guidance: 1 } },
  };
  writeFileSync(file, JSON.stringify({ ...whole, ...change }));
  return file;
};
const done = (argv) => spawnSync(argv[0], argv.slice(1), { cwd: root, env, encoding: 'utf8', timeout: 240_000 });
const ranks = (n, ...args) => [mpirun, '--oversubscribe', '-np', String(n), process.execPath, ...train, ...args];
const fail = (text) => {
  console.error(text);
  rmSync(work, { recursive: true, force: true });
  process.exit(1);
};

const file = config('equal');
const runs = [
  ['one process', [process.execPath, ...train, '--config', file]],
  ['2 ranks', ranks(2, '--config', file)],
  ['4 ranks, sharded moments', ranks(4, '--config', file, '--shard-optimizer')],
].map(([name, argv], i) => {
  const run = join(work, `run-${i}`);
  const { status, stdout, stderr } = done([...argv, '--run', run]);
  if (status !== 0) fail(`${name} ended with ${status}:\n${stdout}${stderr}`);
  const hash = createHash('sha256')
    .update(readFileSync(join(run, 'model', 'model.safetensors')))
    .digest('hex');
  console.log(`${name}: weights ${hash.slice(0, 16)}`);
  return hash;
});
if (new Set(runs).size !== 1) fail('the weights differ');

const other = config('other', { batchSize: 16 });
const each = (settings) => [
  '-np',
  '1',
  process.execPath,
  ...train,
  '--run',
  join(work, 'refused'),
  '--config',
  settings,
];
const refused = done([mpirun, '--oversubscribe', ...each(file), ':', ...each(other)]);
if (refused.status === 0 || !/batchSize differs: 8 on rank 0; 16 on rank 1/.test(refused.stderr)) {
  fail(`ranks with different settings were not refused:\n${refused.stdout}${refused.stderr}`);
}
console.log(
  `refused: ${refused.stderr
    .split('\n')
    .find((line) => line.includes('differs'))
    ?.trim()}`,
);

const long = config('long', { steps: 100_000 });
const [command, ...args] = ranks(2, '--config', long, '--run', join(work, 'killed'));
const job = spawn(command, args, { cwd: root, env, stdio: 'ignore' });
const ended = new Promise((resolve) => job.on('close', resolve));
const timer = setTimeout(() => fail('the job with a killed rank did not end'), 240_000);
const log = join(work, 'killed', 'log.jsonl');
while (!existsSync(log) || readFileSync(log, 'utf8').split('\n').length < 3)
  await new Promise((r) => setTimeout(r, 50));
const parentOf = (pid) => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[1]);
const children = readdirSync('/proc').filter((name) => {
  try {
    return /^\d+$/.test(name) && parentOf(name) === job.pid;
  } catch {
    return false; // It has ended meanwhile.
  }
});
process.kill(Number(children[0]), 'SIGKILL');
const code = await ended;
clearTimeout(timer);
if (code === 0) fail('the job ended in order although a rank was killed');
console.log(`a killed rank ended the job with code ${code}`);
rmSync(work, { recursive: true, force: true });
