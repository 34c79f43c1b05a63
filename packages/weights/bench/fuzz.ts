/**
 * Reads mutated files of every format: each must give an error of ours or tensors of the shapes it says, soon and
 * without much memory. `tsx -C @mezzotint/source bench/fuzz.ts [files per format] [seed]`
 */
import { openFormats, runFuzz } from '../test/fuzzing.js';

const [count = '10000', seed = '1'] = process.argv.slice(2);

let failed = false;
for (const format of openFormats()) {
  const report = await runFuzz(format, Number(count), Number(seed));
  console.log(JSON.stringify(report));
  failed ||= report.problems.length > 0;
}
process.exitCode = failed ? 1 : 0;
