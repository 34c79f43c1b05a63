import { type ActivationKind, activationKinds } from '@mezzotint/layers';
import { countProblems, layerProblems, positiveProblems, throwIf } from '../checks.js';

/** Configuration of {@link T5EncoderModel}. A plain JSON value. */
export interface T5EncoderConfig {
  readonly vocabSize: number;
  /** Width D of the tokens. */
  readonly width: number;
  /** Width of a head; all heads together need not be D wide. */
  readonly headWidth: number;
  readonly heads: number;
  /** Width inside the two-layer networks. */
  readonly mlpWidth: number;
  /** Their nonlinearity: `tanh` (GELU) in version 1.1, `relu` in version 1.0. */
  readonly activation: ActivationKind;
  /** A second map whose output the nonlinearity's is multiplied by, as in version 1.1. */
  readonly gated: boolean;
  readonly layers: number;
  /** Rows of the relative position table: half for what is before, half for what is after. */
  readonly buckets: number;
  /** Distance from which on all positions share a bucket. */
  readonly maxDistance: number;
  /** Epsilon of every RmsNorm. */
  readonly epsilon: number;
}

/** Throws an InvalidArgumentError with everything that is wrong with the configuration. */
export function validateT5Config(who: string, config: T5EncoderConfig): void {
  const { epsilon, activation, gated, ...counts } = config;
  const problems = [...countProblems(counts), ...layerProblems(config.layers), ...positiveProblems('epsilon', epsilon)];
  if (!activationKinds.includes(activation)) {
    problems.push(`activation: expected one of ${activationKinds.join(', ')}, got ${JSON.stringify(activation)}`);
  }
  if (typeof gated !== 'boolean') problems.push(`gated: expected true or false, got ${JSON.stringify(gated)}`);
  throwIf(who, problems); // What follows computes with these numbers.
  if (config.buckets < 4 || config.buckets % 4 !== 0) {
    problems.push(`buckets: expected a multiple of 4, got ${config.buckets}`);
  }
  if (!(config.maxDistance > config.buckets / 4)) {
    problems.push(`maxDistance: expected more than buckets / 4 = ${config.buckets / 4}, got ${config.maxDistance}`);
  }
  throwIf(who, problems);
}
