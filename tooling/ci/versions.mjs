// What `changeset version` would make of the packages: all stay below 1.0.0 until somebody decides otherwise. (A peer of
// ours with a narrow range would make its package 1.0.0 by itself.) Works on a copy.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const copy = mkdtempSync(join(tmpdir(), 'mezzotint-versions-'));
try {
  const files = execFileSync('git', ['ls-files', '.changeset', '*package.json', 'pnpm-workspace.yaml'], {
    cwd: root,
    encoding: 'utf8',
  });
  for (const file of files.split('\n').filter((name) => name !== '')) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const git = (...args) =>
    execFileSync('git', ['-c', 'user.name=ci', '-c', 'user.email=ci@localhost', ...args], {
      cwd: copy,
      stdio: 'ignore',
    });
  git('init', '--initial-branch=main');
  git('add', '.changeset', 'packages', 'package.json');
  git('commit', '-m', 'copy');
  const done = spawnSync(join(root, 'node_modules', '.bin', 'changeset'), ['version'], { cwd: copy, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`changeset version fails:\n${done.stdout}${done.stderr}`);
  const versions = readdirSync(join(copy, 'packages')).map((name) => {
    const { version } = JSON.parse(readFileSync(join(copy, 'packages', name, 'package.json'), 'utf8'));
    return { name, version };
  });
  const early = versions.filter(({ version }) => !version.startsWith('0.'));
  for (const { name, version } of early) console.error(`${name} would become ${version}`);
  console.log(`${versions.length} packages, ${early.length} would leave 0.x`);
  process.exitCode = early.length === 0 ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
