// Runs bundled specs in this process: `specs.ts BUNDLE REPORT [FILTER]`. A process serves one engine, because specs change global state.
import { writeFileSync } from 'node:fs';
import Jasmine from 'jasmine';
import type { SpecResult } from './report.js';

const [bundle, report, filter] = process.argv.slice(2);
if (bundle === undefined || report === undefined) throw new Error('expected the paths of a bundle and of a report');

const runner = new Jasmine();
runner.exitOnCompletion = false;
runner.randomizeTests(false);
runner.clearReporters();
const results: SpecResult[] = [];
runner.addReporter({
  specDone({ fullName, status, failedExpectations }) {
    // Left out by the filter.
    if (status === 'excluded') return;
    const reason = failedExpectations.map(({ message }) => message).join('\n');
    results.push({ name: fullName, outcome: outcomeOf(status), ...(reason === '' ? {} : { reason }) });
  },
  suiteDone({ fullName, failedExpectations }) {
    if (failedExpectations.length === 0) return;
    const reason = failedExpectations.map(({ message }) => message).join('\n');
    results.push({ name: `${fullName} (after all)`, outcome: 'failed', reason });
  },
});
runner.addMatchingHelperFiles([]);
runner.specFiles = [bundle];
await runner.execute(undefined, filter);
writeFileSync(report, JSON.stringify(results));
process.exit(0);

function outcomeOf(status: string): SpecResult['outcome'] {
  if (status === 'passed' || status === 'failed') return status;
  return 'skipped';
}
