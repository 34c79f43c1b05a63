import { FeatureStatistics, type Features, frechetDistance, kernelDistance, prdc } from '@mezzotint/metrics';

/** How generated images compare with real ones, in the features of one network. */
export interface Scores {
  readonly frechetDistance: number;
  /** Unbiased kernel distance (KID) and its standard error. */
  readonly kid: number;
  readonly kidError: number;
  readonly precision: number;
  readonly recall: number;
  readonly density: number;
  readonly coverage: number;
}

/** Fréchet distance of two sets of features. */
export function frechet(a: Features, b: Features): number {
  const [left, right] = [a, b].map((features) => new FeatureStatistics(features.dim).add(features)) as [
    FeatureStatistics,
    FeatureStatistics,
  ];
  return frechetDistance(left, right);
}

/** All scores of `generated` against `real`. */
export function score(real: Features, generated: Features): Scores {
  const kid = kernelDistance(real, generated);
  return {
    frechetDistance: frechet(real, generated),
    kid: kid.value,
    kidError: kid.standardError,
    ...prdc(real, generated),
  };
}

/** Share of classes that are what was asked for. */
export function labelAccuracy(classes: Int32Array, asked: readonly number[]): number {
  let right = 0;
  for (let i = 0; i < asked.length; i++) if (classes[i] === asked[i]) right++;
  return right / asked.length;
}
