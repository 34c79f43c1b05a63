import type { NoiseLevel, RandomStream } from '@mezzotint/core';
import { independent, type Uniforms } from './uniforms.js';

/** A noise level with the time that the network is told. */
export interface TimedNoiseLevel extends NoiseLevel {
  readonly time: number;
}

/** Draws the noise levels of a batch of n examples. */
export type NoiseDistribution<L extends NoiseLevel = TimedNoiseLevel> = (n: number, rng: RandomStream) => readonly L[];

/**
 * Noise levels by inversion: `levelAt` turns a uniform number into a level, `uniforms` says how the numbers of a batch
 * spread (`independent`, `stratified`, `lowDiscrepancy`). Any level distribution composes with any spread.
 */
export function noiseLevels<L extends NoiseLevel>(
  levelAt: (u: number) => L,
  uniforms: Uniforms = independent,
): NoiseDistribution<L> {
  return (n, rng) => Array.from(uniforms(n, rng), levelAt);
}
