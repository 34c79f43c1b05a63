import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const page = (path: string) => readFileSync(`${root}${path}`, 'utf8');

test('text-to-image says what it draws, and takes the folder of the diffusion model by default', () => {
  const node = ['--conditions=@mezzotint/source', '--import', './tooling/setup/typescript.mjs'];
  const command = [...node, 'tooling/studies/src/main.ts', 'text-to-image', '--help'];
  const help = execFileSync(process.execPath, command, { cwd: root, encoding: 'utf8' }).replaceAll(/\s+/g, ' ');
  expect(help).toContain('(default: "data/emoji-balanced")');
  const line = /^pnpm study text-to-image .*$/m.exec(page('tooling/studies/README.md'))![0];
  for (const text of [help, line]) {
    for (const drawn of ['grid', 'combinations', 'guidance scales', 'versions', 'nearest training pictures'])
      expect(text).toContain(drawn);
    expect(text).not.toContain('docs/text-to-image.md');
  }
});

test('every run that the small cascade of docs/cascades.md takes is made by a command there', () => {
  const section = page('docs/cascades.md')
    .split('\n## ')
    .find((part) => part.startsWith('A small cascade'))!;
  const runs = (flags: string) =>
    [...section.matchAll(new RegExp(`--(?:${flags}) (runs/[\\w-]+)`, 'g'))].map(([, run]) => run);
  const taken = [...new Set(runs('base|upsampler|plain|features|model'))].sort();
  expect(taken.length).toBeGreaterThan(3);
  expect(runs('run').sort()).toEqual(taken);
});
