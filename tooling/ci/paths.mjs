// Checks that no text speaks of files that are not in the repository: every relative link of a README or a page of docs, and every
// path in backticks that begins with a folder of the repository (`packages/...`) or of the package (`src/...`, `test/...`).
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const files = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((file) => file !== '' && !file.startsWith('.changeset/') && !file.endsWith('CHANGELOG.md'));
const tracked = new Set(execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).split('\n'));
const folders = new Set([...tracked].flatMap((file) => parents(file)));

function parents(file) {
  const parts = file.split('/');
  return parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** Folders of the repository that a path in backticks may begin with. */
const TOP = /^(?:packages|apps|docs|tooling|models|\.ci|\.changeset)\//;
/** Folders of a package. */
const OWN = /^(?:src|test|configs)\//;
/** Patterns, placeholders and what runs make. */
const NO_PATH = /[*<>{}…$\s]|\.\.\.|NAME/;

const has = (path) => tracked.has(path) || folders.has(path.replace(/\/$/, ''));

const problems = [];
for (const file of files) {
  const text = readFileSync(join(root, file), 'utf8');
  const prose = text.replace(/```[\s\S]*?```/g, '');
  const say = (what) => problems.push(`${file}: ${what}`);
  for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^(?:[a-z]+:|#)/.test(target)) continue;
    const [path, anchor] = decodeURI(target).split('#');
    const place = normalize(join(dirname(file), path)).replace(/\/$/, '');
    if (place !== '.' && !has(place)) say(`links to ${target}, which is not there`);
    else if (anchor !== undefined && place.endsWith('.md') && !anchors(place).has(anchor))
      say(`links to ${target}: no such heading`);
  }
  for (const [, path] of prose.matchAll(/`([^`]+)`/g)) {
    if (NO_PATH.test(path)) continue;
    const plain = path.replace(/:\d+$/, '').replace(/\/$/, '');
    if (TOP.test(path) && !has(plain)) say(`names \`${path}\`, which is not there`);
    if (OWN.test(path) && !has(join(dirname(file), plain)) && !/^docs\//.test(file))
      say(`names \`${path}\`, which is not there`);
  }
}

// Comments, help and errors name pages of docs and files of the tools.
const code = [...tracked].filter((file) => /\.(?:ts|mjs|py)$/.test(file) && !file.startsWith('tooling/ci/'));
for (const file of code) {
  const text = readFileSync(join(root, file), 'utf8');
  for (const [path] of text.matchAll(
    /(?<![\w/.-])(?:docs|tooling|packages|apps)\/[\w./-]+\.(?:md|py|mjs|ts|json)\b/g,
  )) {
    if (!has(path)) problems.push(`${file}: names ${path}, which is not there`);
  }
}

// The map of the project shows all of it.
const packages = [...folders]
  .filter((folder) => /^packages\/[^/]+$/.test(folder))
  .map((folder) => folder.slice('packages/'.length));
for (const page of ['README.md', 'docs/architecture.md']) {
  const text = readFileSync(join(root, page), 'utf8');
  for (const name of packages) {
    if (!new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(text))
      problems.push(`${page}: does not name the package ${name}`);
  }
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(page) {
  const text = readFileSync(join(root, page), 'utf8').replace(/```[\s\S]*?```/g, '');
  const headings = [...text.matchAll(/^#+ +(.+)$/gm)].map(([, heading]) => heading);
  const plain = (heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-');
  return new Set(headings.map(plain));
}

for (const problem of problems) console.error(problem);
console.log(`${files.length} pages and ${code.length} files of code read, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
