import type { NoiseLevel, NoiseLevels } from '@mezzotint/core';
import { levelAt } from '../schedules/schedule.js';
import type { Space, Term } from '../spaces/space.js';

/** The noise that an estimate implies: eps = (x - alpha D) / sigma. */
export function noiseOf<V>(space: Space<V>, x: V, x0: V, { alpha, sigma }: NoiseLevel): V {
  return space.combine([1 / sigma, x], [-alpha / sigma, x0]);
}

/** p x + sum w_k m_k. */
export function weighted<V>(space: Space<V>, p: number, x: V, w: readonly number[], m: readonly V[]): V {
  return space.combine([p, x], ...w.map((weight, k): Term<V> => [weight, m[k]!]));
}

/** Adds noise to a vector; none where its weight is 0. */
export function addNoise<V>(space: Space<V>, x: V, weight: number, noise: () => V): V {
  return weight === 0 ? x : space.combine([1, x], [weight, noise()]);
}

/** Levels of rows i, i - 1, ..., `count` of them: where a multistep method's predictions were made, newest first. */
export function levelsBack(table: NoiseLevels, i: number, count: number): NoiseLevel[] {
  return Array.from({ length: count }, (_, k) => levelAt(table, i - k));
}

/**
 * The order that a multistep method can have: one more than the predictions of earlier steps, and one less towards the end
 * if wanted.
 *
 * @param left steps of the table that are left, this one included
 * @param past number of predictions that earlier steps of this run made
 */
export function orderAt(order: number, past: number, left: number, lowerAtEnd: boolean): number {
  return Math.min(order, past + 1, lowerAtEnd ? left : order);
}

/** Complaints about rows without signal, for solvers that work on eps or on x / alpha. */
export function needsSignal({ alpha }: NoiseLevels): string[] {
  if (alpha[0]! > 0) return [];
  return [
    'divides by alpha, and the first row is pure noise (alpha 0): use euler, ddim or a data-prediction solver (dpmpp-*, unipc), or start lower',
  ];
}
