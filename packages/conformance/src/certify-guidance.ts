import type { Denoiser, NoiseLevel } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { atMost, type Check, isTrue, type Report, report } from './report.js';

/** What is checked of a guidance. */
export interface GuidanceClaims<G> {
  readonly name: string;
  /**
   * The guidance around the probe, a denoiser whose condition is one number for the batch:
   * `(d) => classifierFree(d, { scale: 3, unconditional: 0 })`.
   */
  readonly guide: (probe: Denoiser<number>) => Denoiser<G>;
  /** What the guided denoiser is conditioned on; for most guidances a number, as the probe's. */
  readonly cond: G;
  /** The same at no strength; it must then be the probe itself. */
  readonly neutral?: ((probe: Denoiser<number>) => Denoiser<G>) | undefined;
  /** Condition of the probe that `cond` stands for; `cond` when that is a number. */
  readonly plain?: number | undefined;
  /**
   * False for a guidance that changes an estimate on which all of the probe's passes agree: one that looks at more than
   * these passes. True when left out.
   */
  readonly keepsAgreement?: boolean | undefined;
  /** False for one that remembers between calls. True when left out. */
  readonly pure?: boolean | undefined;
  /** Tensors that it holds between calls; 0. */
  readonly holds?: number | undefined;
}

/** Levels of each kind. */
const LEVELS: readonly NoiseLevel[] = [
  { alpha: 0.6, sigma: 0.8 },
  { alpha: 1, sigma: 1.7 },
  { alpha: 0.3, sigma: 0.7 },
];
const SHAPE: [number, number, number, number] = [2, 4, 4, 3];

/**
 * Checks that a guidance behaves as a Denoiser: it gives one new tensor of x's shape, disposes nothing that it was
 * given, leaks nothing (also when the model fails), treats every image of a batch for itself, is the model where its
 * passes agree, and does nothing at no strength. Needs a TensorFlow.js engine.
 */
export function certifyGuidance<G>(claims: GuidanceClaims<G>): Report {
  const x = probeImages();
  try {
    const checks = LEVELS.flatMap((at) => [...checkOwnership(claims, x, at), ...checkLaws(claims, x, at)]);
    return report(claims.name, [...checks, ...checkFailure(claims, x)]);
  } finally {
    x.dispose();
  }
}

function checkOwnership<G>(
  { guide, cond, pure = true, holds = 0 }: GuidanceClaims<G>,
  x: tf.Tensor4D,
  at: NoiseLevel,
): Check[] {
  const name = (what: string) => `${what} at alpha ${at.alpha}, sigma ${at.sigma}`;
  const before = [...x.dataSync()];
  const guided = guide(probe);
  const empty = tf.memory().numTensors;
  const first = guided(x, at, cond);
  const held = tf.memory().numTensors - empty;
  const checks = [
    isTrue(name('a new tensor'), first !== x && !first.isDisposed, 'x itself or a disposed tensor', 'new'),
    isTrue(name('shape'), String(first.shape) === String(x.shape), `[${first.shape}]`, `[${x.shape}]`),
    isTrue(name('x is alive and unchanged'), unchanged(x, before), 'disposed or changed', 'alive and unchanged'),
    isTrue(name('tensors left'), held === 1 + holds, `${held}`, `${1 + holds}`),
  ];
  if (first === x || first.isDisposed) return checks;
  const values = [...first.dataSync()];
  first.dispose();
  checks.push(isTrue(name('the numbers are finite'), values.every(Number.isFinite), 'some are not', 'all finite'));
  const inTidy = tf.tidy(() => guided(x, at, cond).clone());
  const again = [...inTidy.dataSync()];
  inTidy.dispose();
  const leaked = tf.memory().numTensors - empty - holds;
  checks.push(isTrue(name('tensors leaked after a second call'), leaked === 0, `${leaked}`, '0'));
  if (pure) {
    const same = again.every((v, i) => Object.is(v, values[i]));
    checks.push(isTrue(name('the same call gives the same bits'), same, 'different bits', 'the same bits'));
  }
  return checks;
}

function checkLaws<G>(claims: GuidanceClaims<G>, x: tf.Tensor4D, at: NoiseLevel): Check[] {
  const { guide, cond, neutral, keepsAgreement = true, pure = true, holds = 0 } = claims;
  const name = (what: string) => `${what} at alpha ${at.alpha}, sigma ${at.sigma}`;
  const checks: Check[] = [];
  if (pure && holds === 0) {
    const guided = guide(probe);
    const whole = read(() => guided(x, at, cond));
    const alone = [0, 1].flatMap((n) => read(() => guided(tf.slice(x, [n, 0, 0, 0], [1, -1, -1, -1]), at, cond)));
    checks.push(atMost(name('an image alone and in a batch'), farthest(alone, whole), 1e-5));
  }
  if (pure && keepsAgreement) {
    const same = read(() => guide(agreeing)(x, at, cond));
    const estimate = read(() => agreeing(x, at, 0));
    checks.push(atMost(name('kept where all passes agree'), farthest(same, estimate), 1e-5));
  }
  if (neutral) {
    const plain = claims.plain ?? cond;
    if (typeof plain === 'number') {
      const [guided, estimate] = [read(() => neutral(probe)(x, at, cond)), read(() => probe(x, at, plain))];
      checks.push(atMost(name('nothing at no strength'), farthest(guided, estimate), 1e-5));
    }
  }
  return checks;
}

/** A model's error comes through as it is, and no tensor stays behind. */
function checkFailure<G>({ guide, cond }: GuidanceClaims<G>, x: tf.Tensor4D): Check[] {
  const failure = new Error('the model fails');
  const failing: Denoiser<number> = () => {
    throw failure;
  };
  const guided = guide(failing);
  const before = tf.memory().numTensors;
  let caught: unknown;
  try {
    guided(x, LEVELS[0]!, cond);
  } catch (error) {
    caught = error;
  }
  const left = tf.memory().numTensors - before;
  return [
    isTrue("the model's error comes through", caught === failure, String(caught), 'the same error'),
    isTrue('tensors left after an error', left === 0, `${left}`, '0'),
  ];
}

/** Bends in x and in the condition, each element for itself. */
const probe: Denoiser<number> = (x, { alpha, sigma }, cond) =>
  tf.tidy(() => {
    const scaled = tf.mul<tf.Tensor4D>(x, 1 / Math.hypot(alpha, sigma));
    return tf.add(tf.tanh(tf.add(scaled, 0.4 * cond)), tf.mul(tf.square(scaled), 0.1 * (1 + cond)));
  });

/** The probe of a model that does not look at its condition. */
const agreeing: Denoiser<number> = (x, at) => probe(x, at, 0.5);

function probeImages(): tf.Tensor4D {
  const count = SHAPE.reduce((n, d) => n * d, 1);
  return tf.tensor4d(
    Float32Array.from({ length: count }, (_, i) => Math.sin(2.3 * i) + 0.3 * Math.cos(0.7 * i)),
    SHAPE,
  );
}

function read(make: () => tf.Tensor): number[] {
  return tf.tidy(() => [...make().dataSync()]) as unknown as number[];
}

function unchanged(x: tf.Tensor4D, before: readonly number[]): boolean {
  return !x.isDisposed && [...x.dataSync()].every((v, i) => Object.is(v, before[i]));
}

/** Largest difference in the scale of the expected numbers. */
function farthest(found: readonly number[], expected: readonly number[]): number {
  const scale = Math.max(...expected.map(Math.abs));
  const differences = found.map((v, i) => Math.abs(v - expected[i]!) / scale);
  return differences.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(...differences);
}
