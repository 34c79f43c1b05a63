import type * as tf from '@tensorflow/tfjs-core';
import { InvalidArgumentError } from './errors.js';
import { quoted } from './printable.js';

/** Largest width, vocabulary or size, and most layers, that are built: far above any published model. */
const MOST = 2 ** 24;
const MOST_LAYERS = 1024;

/**
 * What is wrong with numbers that must be whole and at least 1, by name. They are bounded, since a configuration may come from
 * a stranger's file: 2^24, and 1,024 for what is built once each (`depth`, `layers` and names that end so).
 */
export function countProblems(counts: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(counts).flatMap(([name, value]) => {
    const most = /(?:^|\.)(?:depth|layers)$|(?:Depth|Layers)$/.test(name) ? MOST_LAYERS : MOST;
    if (!isCount(value)) return [`${name}: expected a whole number of at least 1, got ${quoted(value)}`];
    return value > most ? [`${name}: expected at most ${most}, got ${value}`] : [];
  });
}

/** True for a whole number of at least 1. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

/** What is wrong with a number that must be above zero. */
export function positiveProblems(name: string, value: unknown): string[] {
  return typeof value === 'number' && value > 0 && Number.isFinite(value)
    ? []
    : [`${name}: expected a positive number, got ${quoted(value)}`];
}

/** What is wrong with a value that must be one of a few. */
export function choiceProblems(name: string, value: unknown, choices: readonly unknown[]): string[] {
  const known = choices.map((choice) => (typeof choice === 'string' ? choice : JSON.stringify(choice)));
  return choices.includes(value) ? [] : [`${name}: expected ${known.join(' or ')}, got ${quoted(value)}`];
}

/** What is wrong with images `[N, H, W, channels]` whose sides `factor` must divide. */
export function imageProblems(name: string, x: tf.Tensor, channels: number, factor: number): string[] {
  if (x.rank !== 4 || x.shape[3] !== channels) {
    return [`${name}: expected [N, H, W, ${channels}], got [${x.shape}]`];
  }
  const [, height, width] = x.shape as [number, number, number, number];
  if (height % factor === 0 && width % factor === 0) return [];
  return [`${name}: expected a height and a width that ${factor} divides, got ${height} x ${width}; resize or pad it`];
}

/** What is wrong with times `[N]` for images `[N, ...]`. */
export function timeProblems(time: tf.Tensor, x: tf.Tensor): string[] {
  if (time.rank === 1 && time.shape[0] === x.shape[0]) return [];
  return [`time: expected [${x.shape[0]}], one time an image, got [${time.shape}]`];
}

/** What is wrong with labels int32 `[N]` for images `[N, ...]` of a model with so many classes (null: unconditional). */
export function labelProblems(labels: tf.Tensor | undefined, x: tf.Tensor, classes: number | null): string[] {
  if (classes === null) return labels === undefined ? [] : ['labels: this model is unconditional; leave them out'];
  const expected = `labels: expected int32 [${x.shape[0]}], one class in [0, ${classes}) an image`;
  if (labels === undefined) return [`${expected}, got none`];
  const fits = labels.rank === 1 && labels.shape[0] === x.shape[0] && labels.dtype === 'int32';
  return fits ? [] : [`${expected}, got ${labels.dtype} [${labels.shape}]`];
}

/** Throws an InvalidArgumentError when there is a problem. */
export function throwIf(who: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
}
