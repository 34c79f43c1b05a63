import { countProblems, layerProblems, positiveProblems, throwIf } from '../checks.js';

/** Configuration of {@link T5EncoderModel}. A plain JSON value. */
export interface T5EncoderConfig {
  readonly vocabSize: number;
  /** Width D of the tokens. */
  readonly width: number;
  /** Width of a head; all heads together need not be D wide. */
  readonly headWidth: number;
  readonly heads: number;
  /** Width inside the gated two-layer networks. */
  readonly mlpWidth: number;
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
  const { epsilon, ...counts } = config;
  const problems = [...countProblems(counts), ...layerProblems(config.layers), ...positiveProblems('epsilon', epsilon)];
  if (config.buckets < 4 || config.buckets % 4 !== 0) {
    problems.push(`buckets: expected a multiple of 4, got ${config.buckets}`);
  }
  if (!(config.maxDistance > config.buckets / 4)) {
    problems.push(`maxDistance: expected more than buckets / 4 = ${config.buckets / 4}, got ${config.maxDistance}`);
  }
  throwIf(who, problems);
}
