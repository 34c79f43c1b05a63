// Checks every publishable package as npm would get it: packs it, runs publint and attw on the tarball, and installs
// the tarballs of two packages (with those that they need) into an empty folder, where plain Node must import them.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
const work = mkdtempSync(join(tmpdir(), 'mezzotint-packages-'));
const problems = [];

const folders = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name));
const packages = folders.map((folder) => ({ folder, ...manifest(folder) })).filter((p) => p.private !== true);
const tarball = (name) =>
  join(work, `${name.replace('@', '').replace('/', '-')}-${packages.find((p) => p.name === name).version}.tgz`);

try {
  const pnpm = join(root, 'node_modules', '.bin', 'pnpm');
  for (const { folder } of packages) {
    execFileSync(pnpm, ['pack', '--pack-destination', work], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  for (const { name, folder, ...p } of packages) {
    for (const field of ['description', 'license', 'repository', 'files', 'exports']) {
      if (p[field] === undefined) problems.push(`${name}: package.json has no ${field}`);
    }
    if (p.sideEffects !== false && !Array.isArray(p.sideEffects)) problems.push(`${name}: sideEffects is not declared`);
    if (p.type !== 'module') problems.push(`${name}: not ESM`);
    if (usesTensorFlow(folder) && p.peerDependencies?.['@tensorflow/tfjs-core'] === undefined)
      problems.push(`${name}: no peer on @tensorflow/tfjs-core`);
    if (p.exports?.['.']?.['@mezzotint/source'] === undefined) problems.push(`${name}: no source condition`);
    check(name, 'publint', [tarball(name), '--strict']);
    check(name, 'attw', [tarball(name), '--profile', 'esm-only', '--format', 'ascii']);
  }
  install(['@mezzotint/schedulers', '@mezzotint/unet']);
} finally {
  rmSync(work, { recursive: true, force: true });
}

function usesTensorFlow(folder) {
  const files = readdirSync(join(folder, 'src'), { recursive: true }).filter((name) => name.endsWith('.ts'));
  return files.some((name) => readFileSync(join(folder, 'src', name), 'utf8').includes("'@tensorflow/tfjs-core'"));
}

function check(name, tool, args) {
  const done = spawnSync(join(here, 'node_modules', '.bin', tool), args, { encoding: 'utf8' });
  if (done.status !== 0) problems.push(`${name}: ${tool} complains:\n${done.stdout}${done.stderr}`);
}

/** Installs the tarballs of `names` and of the packages of ours that they need, and imports them. */
function install(names) {
  const needed = new Set(names);
  for (const name of needed) {
    const { dependencies = {} } = packages.find((p) => p.name === name);
    for (const dependency of Object.keys(dependencies))
      if (dependency.startsWith('@mezzotint/')) needed.add(dependency);
  }
  const folder = mkdtempSync(join(work, 'empty-'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  const tensorflow = `@tensorflow/tfjs-core@${packages[0].devDependencies['@tensorflow/tfjs-core'] === 'catalog:' ? '4.22.0' : 'latest'}`;
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', tensorflow, ...[...needed].map(tarball)], {
    cwd: folder,
    stdio: 'inherit',
  });
  for (const name of names) {
    const script = `const m = await import(${JSON.stringify(name)}); if (Object.keys(m).length === 0) throw new Error('exports nothing');`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, encoding: 'utf8' });
    if (done.status !== 0) problems.push(`${name}: does not import from its tarball:\n${done.stderr}`);
  }
}

for (const problem of problems) console.error(problem);
console.log(`${packages.length} packages packed and checked, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
