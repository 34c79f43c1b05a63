import { type HostTensor, InvalidArgumentError, MezzotintError, type WeightSource } from '@mezzotint/core';
import type { EmaDecay } from './ema.js';

/**
 * The exponent gamma of the power function average of relative width sigmaRel, the standard deviation of its profile as a
 * fraction of the training so far: sigmaRel = (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^-1/2. EDM2 (Karras et al.
 * 2024), eq. 123 and algorithm 2.
 *
 * @throws InvalidArgumentError when sigmaRel is not in (0, 1/sqrt(12)), the widths of gamma > 0
 */
export function powerExponent(sigmaRel: number): number {
  if (!(sigmaRel > 0 && sigmaRel < 1 / Math.sqrt(12))) {
    throw new InvalidArgumentError(
      'powerExponent',
      `sigmaRel must be above 0 and below 0.288 (equal weight for all of the training), got ${sigmaRel}`,
    );
  }
  // The width falls as gamma grows, from 1/sqrt(12) at 0 towards 1 / gamma, so that the root is between these.
  let [low, high] = [0, 1 / sigmaRel];
  while (high - low > 1e-15 * high) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (relativeWidth(middle) > sigmaRel) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The relative width of the power function average of exponent gamma; the inverse of {@link powerExponent}. */
export function relativeWidth(gamma: number): number {
  return Math.sqrt(gamma + 1) / ((gamma + 2) * Math.sqrt(gamma + 3));
}

/**
 * The decay (1 - 1/t)^(gamma + 1) at update t: an average whose profile at any time is t^gamma, which stretches with the training
 * and forgets the initial weights at the first update. EDM2, eq. 127. Updates of equal numbers of images are assumed.
 *
 * @throws InvalidArgumentError as {@link powerExponent}
 */
export function powerFunctionDecay(sigmaRel: number): EmaDecay {
  const gamma = powerExponent(sigmaRel);
  return (updatesBefore) => (updatesBefore / (updatesBefore + 1)) ** (gamma + 1);
}

/** A power function average: its width, and the time (in updates or images, but all in the same) at which it was taken. */
export interface AverageProfile {
  readonly sigmaRel: number;
  readonly time: number;
}

/** An average that was stored during training. */
export interface Snapshot extends AverageProfile {
  readonly weights: WeightSource;
}

/**
 * How much of each snapshot makes the average of the target's profile: the least-squares fit of its profile by theirs, scaled
 * so that the numbers add up to 1, as in the reference. EDM2, section 3.2 and algorithm 3.
 *
 * @throws InvalidArgumentError when there is no snapshot, two have the same profile, or the target is later than all of them
 */
export function posthocCoefficients(snapshots: readonly AverageProfile[], target: AverageProfile): Float64Array {
  checkProfiles(snapshots, target);
  const power = ({ sigmaRel, time }: AverageProfile): Power => ({ gamma: powerExponent(sigmaRel), time });
  const given = snapshots.map(power);
  const wanted = power(target);
  const fit = solve(
    given.map((a) => Float64Array.from(given, (b) => innerProduct(a, b))),
    Float64Array.from(given, (a) => innerProduct(a, wanted)),
  );
  const sum = fit.reduce((a, b) => a + b, 0);
  return fit.map((coefficient) => coefficient / sum);
}

/**
 * Averages of any widths from stored snapshots, tensor by tensor, so that no more than one tensor of each is in memory and each
 * snapshot is read once whatever the number of targets. Works for any loop and model whose snapshots are power function averages.
 * Yields each tensor's name and its average for each target, in their order, and after the last tensor ends.
 *
 * @throws InvalidArgumentError as {@link posthocCoefficients}; MezzotintError `MEZZOTINT_SNAPSHOTS_DIFFER` when snapshots are not of
 *   one model, with all differences
 */
export async function* posthocEma(
  snapshots: readonly Snapshot[],
  targets: readonly AverageProfile[],
): AsyncGenerator<{ readonly name: string; readonly averages: readonly HostTensor[] }, void, undefined> {
  const coefficients = targets.map((target) => posthocCoefficients(snapshots, target));
  checkSameModel(snapshots);
  for (const [name, { shape }] of snapshots[0]!.weights.tensors) {
    const sums = targets.map(() => new Float64Array(shape.reduce((n, size) => n * size, 1)));
    for (const [i, { weights }] of snapshots.entries()) {
      const { data } = await weights.read(name);
      sums.forEach((sum, t) => {
        const share = coefficients[t]![i]!;
        for (let j = 0; j < sum.length; j++) sum[j] = sum[j]! + share * data[j]!;
      });
    }
    yield { name, averages: sums.map((sum) => ({ shape, data: Float32Array.from(sum) })) };
  }
}

/** The profile (gamma + 1) s^gamma / t^(gamma + 1) for 0 < s <= t. */
interface Power {
  readonly gamma: number;
  readonly time: number;
}

/**
 * The integral of the product of two profiles: (a+1) (b+1) / (a+b+1) (ta / tb)^b / tb for exponents a, b and ta <= tb. EDM2,
 * algorithm 3.
 */
function innerProduct(one: Power, other: Power): number {
  const [a, b] = one.time <= other.time ? [one, other] : [other, one];
  const scale = ((a.gamma + 1) * (b.gamma + 1)) / (a.gamma + b.gamma + 1);
  return (scale * (a.time / b.time) ** b.gamma) / b.time;
}

/** Solves the symmetric A x = b by elimination with the largest pivot of each column. */
function solve(a: readonly Float64Array[], b: Float64Array): Float64Array {
  const n = b.length;
  // Scaled to a diagonal of ones: times may differ by orders of magnitude. The right side is the last column.
  const scale = a.map((row, i) => 1 / Math.sqrt(row[i]!));
  const rows = a.map((row, i) => {
    const scaled = [...row].map((value, j) => value * scale[i]! * scale[j]!);
    return [...scaled, b[i]! * scale[i]!];
  });
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j] = rows[i]![j]! - factor * rows[k]![j]!;
    }
  }
  const x = new Float64Array(n);
  for (let i = n - 1; i >= 0; i--) {
    let rest = rows[i]![n]!;
    for (let j = i + 1; j < n; j++) rest -= rows[i]![j]! * x[j]!;
    x[i] = rest / rows[i]![i]!;
  }
  return x.map((value, i) => value * scale[i]!);
}

function checkProfiles(snapshots: readonly AverageProfile[], target: AverageProfile): void {
  const problems: string[] = [];
  if (snapshots.length === 0) problems.push('there is no snapshot to reconstruct from');
  for (const { time } of [...snapshots, target]) {
    if (!(time > 0 && Number.isFinite(time))) problems.push(`a time must be above 0, got ${time}`);
  }
  const seen = new Set<string>();
  for (const { sigmaRel, time } of snapshots) {
    const profile = `sigmaRel ${sigmaRel} at time ${time}`;
    if (seen.has(profile)) problems.push(`two snapshots have ${profile}; give each once`);
    seen.add(profile);
  }
  const last = Math.max(...snapshots.map(({ time }) => time));
  if (snapshots.length > 0 && target.time > last) {
    problems.push(`the target's time ${target.time} is after the last snapshot, ${last}: training went no further`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('posthocCoefficients', problems);
}

function checkSameModel([first, ...others]: readonly Snapshot[]): void {
  const shapes = ({ weights }: Snapshot) =>
    new Map([...weights.tensors].map(([name, { shape }]) => [name, `[${shape}]`]));
  const expected = shapes(first!);
  const problems = others.flatMap((snapshot) => {
    const got = shapes(snapshot);
    const names = new Set([...expected.keys(), ...got.keys()]);
    return [...names]
      .filter((name) => expected.get(name) !== got.get(name))
      .map(
        (name) =>
          `${snapshot.weights.name}: ${name} is ${got.get(name) ?? 'missing'}, not ${expected.get(name) ?? 'there'} as in ${first!.weights.name}`,
      );
  });
  if (problems.length === 0) return;
  const shown = problems.slice(0, 10).join('\n  ');
  const more = problems.length > 10 ? `\n  and ${problems.length - 10} more` : '';
  throw new MezzotintError('MEZZOTINT_SNAPSHOTS_DIFFER', `The snapshots are not of one model:\n  ${shown}${more}`, {
    problems,
  });
}
