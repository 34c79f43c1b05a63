/** What one spec did on one engine. */
export interface SpecResult {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** The messages of what failed. */
  readonly reason?: string;
}

/** A spec that fails on our engine, and why that is not a fault of ours. */
export interface KnownFailure {
  readonly name: string;
  readonly reason: string;
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function count(results: readonly SpecResult[]): Counts {
  const of = (outcome: SpecResult['outcome']): number => results.filter((result) => result.outcome === outcome).length;
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}

/** Everything that is wrong with our engine's results: an empty list is success. */
export function problemsOf(
  ours: readonly SpecResult[],
  known: readonly KnownFailure[],
  others: Readonly<Record<string, readonly SpecResult[]>>,
): readonly string[] {
  const listed = new Set(known.map(({ name }) => name));
  const failing = new Set(ours.flatMap(({ name, outcome }) => (outcome === 'failed' ? [name] : [])));
  const problems: string[] = [];
  for (const { name, reason } of ours.filter(({ outcome }) => outcome === 'failed')) {
    if (!listed.has(name)) problems.push(`fails and is not listed: ${name}\n    ${firstLines(reason ?? '')}`);
  }
  for (const { name } of known) {
    if (!failing.has(name)) problems.push(`is listed as failing and does not fail: ${name}`);
  }
  const { passed } = count(ours);
  const defined = new Set(ours.map(({ name }) => name));
  for (const [engine, results] of Object.entries(others)) {
    // tfjs-core defines a few specs for one backend only.
    const more = count(results.filter(({ name }) => defined.has(name))).passed;
    if (more > passed) problems.push(`${engine} passes ${more} of our specs, ours ${passed}`);
  }
  return problems;
}

function firstLines(text: string): string {
  return text.split('\n').slice(0, 3).join('\n    ').slice(0, 600);
}
