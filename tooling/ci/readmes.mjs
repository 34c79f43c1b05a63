// Runs the first example of every package's README as a user would: packs the packages, installs what the README's own
// `npm install` line names into an empty folder (packages of ours from the tarballs, all else from npm), and runs the
// example there. Needs builds (`turbo run build`). `node tooling/ci/readmes.mjs [package...]`
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const tsx = pathToFileURL(createRequire(join(root, 'package.json')).resolve('tsx')).href;
const work = mkdtempSync(join(tmpdir(), 'mezzotint-readmes-'));
const asked = process.argv.slice(2);

const packages = readdirSync(join(root, 'packages')).map((name) => {
  const folder = join(root, 'packages', name);
  return { short: name, folder, ...JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) };
});
const tarball = ({ name, version }) => join(work, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);

/** What an example says when it stops at a file that only its reader has: its imports and all before it worked. */
const NEEDS_FILE = /ENOENT|no such file|no such folder|holds no model|has no model_index/i;

function installLine(readme) {
  const line = /^npm install (.+)$/m.exec(readme)?.[1];
  return line?.split(/\s+/).filter((word) => !word.startsWith('-'));
}

function runExample({ short, folder }, overrides) {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8');
  const words = installLine(readme);
  const code = /```(?:ts|js)\n([\s\S]+?)```/.exec(readme)?.[1];
  if (words === undefined) return 'its README has no line "npm install ..."';
  if (code === undefined) return 'its README has no example';
  const place = join(work, short);
  mkdirSync(place);
  const dependencies = Object.fromEntries(
    words.map((word) => {
      const at = word.lastIndexOf('@');
      return at > 0 ? [word.slice(0, at), word.slice(at + 1)] : [word, overrides[word] ?? '*'];
    }),
  );
  // What is ours comes from its tarball wherever it is needed, at any depth.
  const own = Object.fromEntries(Object.entries(overrides).filter(([key]) => !(key in dependencies)));
  const manifest = { private: true, type: 'module', dependencies, overrides: own };
  writeFileSync(join(place, 'package.json'), JSON.stringify(manifest, null, 2));
  const npm = spawnSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: place,
    encoding: 'utf8',
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
  });
  if (npm.status !== 0) return `npm install ${words.join(' ')} fails:\n${npm.stderr}`;
  // The models that come with the repository, not with a package.
  if (code.includes('models/')) cpSync(join(root, 'models'), join(place, 'models'), { recursive: true });
  writeFileSync(join(place, 'example.ts'), code);
  const done = spawnSync(process.execPath, ['--import', tsx, 'example.ts'], {
    cwd: place,
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (done.status === 0) return undefined;
  if (NEEDS_FILE.test(done.stderr)) return undefined;
  return `its example ends with ${done.status ?? done.signal}:\n${done.stderr.slice(-2000)}`;
}

const problems = [];
const chosen = packages.filter(({ short }) => asked.length === 0 || asked.includes(short));
try {
  const pnpm = join(root, 'node_modules', '.bin', 'pnpm');
  for (const { folder } of packages) {
    execFileSync(pnpm, ['pack', '--pack-destination', work], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const overrides = Object.fromEntries(packages.map((one) => [one.name, `file:${tarball(one)}`]));
  for (const one of chosen) {
    const problem = runExample(one, overrides);
    if (problem !== undefined) problems.push(`${one.name}: ${problem}`);
    rmSync(join(work, one.short), { recursive: true, force: true });
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
for (const problem of problems) console.error(problem);
console.log(`${chosen.length} READMEs tried as installed, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
