/**
 * Mutated files for every reader: each must give a value or an error of ours, soon. Run with a heap cap:
 * `pnpm fuzz [files in all] [seed] [part of a reader's name...]` (the script sets `--max-old-space-size=1024`).
 */

import { readers } from './readers.js';
import { fuzz } from './run.js';

const [total = '5000', seed = String(Date.now() % 2 ** 31), ...names] = process.argv.slice(2);
const chosen = readers.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)));
const each = Math.ceil(Number(total) / readers.length);
let failed = 0;
let files = 0;
for (const reader of chosen) {
  const report = await fuzz(reader, each, Number(seed));
  console.log(JSON.stringify(report));
  failed += report.foreign.length;
  files += report.files;
}
const { maxRSS } = process.resourceUsage();
console.log(
  `${files} files of ${chosen.length} readers, seed ${seed}: ${failed} foreign errors, at most ${Math.round(maxRSS / 1024)} MB`,
);
process.exitCode = failed === 0 ? 0 : 1;
