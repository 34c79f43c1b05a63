import { type FolderReport, tolerance } from './check.js';

/** A folder's lines for people. */
export function describeFolder({ folder, class: className, status, outputs, seconds, problem }: FolderReport): string {
  if (status === 'unknown') return `${folder} (${className}): no such model yet`;
  const lines = outputs.map((output) => {
    const error = output.relativeError?.toExponential(2) ?? output.problem;
    return `  ${output.name.padEnd(28)} [${output.shape.join(', ')}]  ${error}  ${output.passed ? 'pass' : 'FAIL'}`;
  });
  if (problem !== undefined) lines.push(`  FAIL: ${problem.replaceAll('\n', '\n  ')}`);
  return [`${folder} (${className}), ${seconds} s`, ...lines].join('\n');
}

/** How many of each. */
export function countsOf(reports: readonly FolderReport[]) {
  const count = (status: FolderReport['status']) => reports.filter((report) => report.status === status).length;
  return { passed: count('passed'), failed: count('failed'), unknown: count('unknown') };
}

/** The last line for people. */
export function summarise(reports: readonly FolderReport[], engine: string): string {
  const { passed, failed, unknown } = countsOf(reports);
  const rest = unknown === 0 ? '' : `, ${unknown} without a model yet (not counted)`;
  return `${passed} passed, ${failed} failed${rest}; tolerance ${tolerance}, engine ${engine}`;
}
