// Sets the repository up with nothing but Node and npm: the pinned pnpm through npx, then install and build.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const stamp = join(root, 'node_modules', '.mezzotint-setup');
const binaries = join(root, 'node_modules', '.bin');

const { packageManager, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Runs a command in the repository and stops this process with its code when it fails. */
export function run(command, args, { quiet = false, env = {} } = {}) {
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    encoding: 'utf8',
    // turbo looks for a pnpm on the path: the one that is installed here.
    env: { ...process.env, PATH: `${binaries}${delimiter}${process.env.PATH}`, TURBO_TELEMETRY_DISABLED: '1', ...env },
    shell: process.platform === 'win32',
  });
  if (done.status === 0) return done;
  if (quiet) process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  console.error(`setup: '${command} ${args.join(' ')}' failed${done.error ? `: ${done.error.message}` : ''}`);
  process.exit(done.status ?? 1);
}

export const pnpm = (args, options) => run('npx', ['--yes', packageManager, ...args], options);

/** The tools of node_modules/.bin, run without the second that a package manager takes to start. */
export const bin = (name, args, options) => run(process.execPath, [binFile(name), ...args], options);

function binFile(name) {
  const folder = join(root, 'node_modules', name);
  const { bin: field } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof field === 'string' ? field : field[name]);
}

/** Changes when anything that decides the installed packages changes. */
function installKey() {
  const hash = createHash('sha256').update(process.version);
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', '.npmrc'];
  for (const group of ['packages', 'apps', 'tooling']) {
    for (const name of readdirSync(join(root, group)).sort()) files.push(join(group, name, 'package.json'));
  }
  for (const file of files) {
    const path = join(root, file);
    hash.update(file).update(existsSync(path) ? readFileSync(path) : '');
  }
  return hash.digest('hex');
}

export function install() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 20)) {
    console.error(`setup: Node ${engines.node} is needed, this is ${process.versions.node}.`);
    process.exit(2);
  }
  const key = installKey();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === key) return;
  console.error('Installing packages (once)…');
  pnpm(['install', '--frozen-lockfile', '--reporter=append-only'], { quiet: true });
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
}

export function build() {
  console.error('Building (only what changed)…');
  bin('turbo', ['run', 'build', '--output-logs=errors-only'], { quiet: true });
}
