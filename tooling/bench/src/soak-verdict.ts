/** Memory at one moment of a soak. */
export interface MemorySample {
  /** Steps done. */
  readonly step: number;
  /** Tensors of TensorFlow.js that are alive, and their bytes. */
  readonly tensors: number;
  readonly tensorBytes: number;
  /** Resident memory of the process after a garbage collection, in bytes. */
  readonly residentBytes: number;
}

/** How a soak is judged. */
export interface SoakVerdict {
  readonly flat: boolean;
  /** Change of the number of tensors after the warm-up. */
  readonly tensorGrowth: number;
  /** Median of resident memory in the last quarter over that in the second quarter. */
  readonly residentRatio: number;
  /** Why it is not flat. */
  readonly problems: readonly string[];
}

/** Slack of resident memory, of which allocators keep some: 5 % and 32 MB. */
const slack = { share: 0.05, bytes: 32 * 2 ** 20 } as const;

export const criterion =
  'flat: after the first quarter the number of tensors and their bytes never change, and the median of resident memory ' +
  '(after garbage collection) in the last quarter is at most 5 % + 32 MB above that in the second';

/** Judges samples taken at equal distances. */
export function judge(samples: readonly MemorySample[]): SoakVerdict {
  const quarter = Math.floor(samples.length / 4);
  const settled = samples.slice(quarter);
  const [second, last] = [samples.slice(quarter, 2 * quarter), samples.slice(-Math.max(quarter, 1))];
  const problems: string[] = [];
  const span = (pick: (sample: MemorySample) => number) =>
    Math.max(...settled.map(pick)) - Math.min(...settled.map(pick));
  const tensorGrowth = span(({ tensors }) => tensors);
  if (tensorGrowth > 0) problems.push(`the number of tensors changed by ${tensorGrowth}`);
  const bytes = span(({ tensorBytes }) => tensorBytes);
  if (bytes > 0) problems.push(`the tensors' bytes changed by ${bytes}`);
  const [before, after] = [median(second.length > 0 ? second : last), median(last)];
  if (after > before * (1 + slack.share) + slack.bytes) {
    problems.push(`resident memory grew from ${megabytes(before)} to ${megabytes(after)} MB`);
  }
  return { flat: problems.length === 0, tensorGrowth, residentRatio: after / before, problems };
}

function median(samples: readonly MemorySample[]): number {
  const sorted = samples.map((sample) => sample.residentBytes).sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
