import { InvalidArgumentError } from '@mezzotint/core';
import { DiversityStatistics } from './diversity.js';
import { FeatureStatistics } from './feature-statistics.js';
import { type Features, problemsOf } from './features.js';
import type { Gaussian } from './frechet-distance.js';
import { InceptionScoreStatistics } from './inception-score-statistics.js';
import type { Spread } from './kernel-distance-of-subsets.js';
import { RowSample } from './row-sample.js';
import { type ClipScore, SimilarityStatistics } from './similarity.js';

/** What a metric wants kept of a set of pictures. */
export type Need = 'gaussian' | 'rows' | 'inceptionScore' | 'diversity' | 'similarity' | 'textRows' | 'labels';

/** What is known of a set of pictures when its metrics are computed. */
export interface Collected {
  /** Pictures; null where a statistics file does not say. */
  readonly count: number | null;
  /** Which network and preprocessing the features come from; null where a statistics file does not say. */
  readonly recipe: string | null;
  readonly gaussian?: Gaussian | undefined;
  /** All rows, or the sample of them that was kept. */
  readonly rows?: Features | undefined;
  /** Texts of the same pictures as `rows`. */
  readonly textRows?: Features | undefined;
  /** A number for the text of each of them, equal where the texts are; absent where only their rows are known. */
  readonly textIds?: ArrayLike<number> | undefined;
  /** With the splits and the classes that it is of, where they are known. */
  readonly inceptionScore?: (Spread & { readonly splits?: number; readonly classes?: number }) | undefined;
  readonly diversity?: number | undefined;
  readonly similarity?: ClipScore | undefined;
  /** Share of pictures that are read as the class asked for. */
  readonly labelAccuracy?: number | undefined;
}

/** What is collected, and of how many pictures. */
export interface CollectorPlan {
  readonly needs: readonly Need[];
  /** D. */
  readonly dim: number;
  /** Classes of the logits; null without. */
  readonly classes: number | null;
  /** Pictures that will come, over all shards. */
  readonly total: number;
  readonly recipe: string;
  /** Most rows that are kept. Default 10,000. */
  readonly rows?: number;
  /** Splits of the inception score. Default 10. */
  readonly splits?: number;
}

/** What a network said of some pictures: those with the indices `first`, `first + step`, ... of all. */
export interface CollectedBatch {
  readonly first: number;
  /** Default 1. */
  readonly step?: number;
  readonly features: Features;
  readonly logits?: Features;
  /** Embedding of each picture's text. */
  readonly texts?: Features;
  /**
   * A number for each picture's text, up to 2^24, equal where the texts are, over all batches and shards. Without them texts are
   * taken as equal where their embeddings are, which rounding makes different in batches of different sizes.
   */
  readonly textIds?: ArrayLike<number>;
  /** Class that each picture was asked to be. */
  readonly labels?: ArrayLike<number>;
}

/** A collector as numbers, to be stored in any format. */
export interface CollectorState {
  readonly json: Readonly<Record<string, unknown>>;
  readonly arrays: Readonly<Record<string, Float64Array | Float32Array>>;
}

/**
 * Folds pictures' features into what metrics need, batch by batch. What is kept does not grow with the number of pictures beyond
 * `rows` rows. Collectors of shards merge; a collector that was stored goes on to the same numbers.
 */
export class Collector implements Collected {
  readonly plan: CollectorPlan;
  #count = 0;
  #right = 0;
  readonly #gaussian: FeatureStatistics | undefined;
  readonly #rows: RowSample | undefined;
  readonly #textRows: RowSample | undefined;
  /** The numbers of the same texts, where every batch had them. */
  readonly #textIds: RowSample | undefined;
  readonly #score: InceptionScoreStatistics | undefined;
  readonly #diversity: DiversityStatistics | undefined;
  readonly #similarity: SimilarityStatistics | undefined;

  /** @throws InvalidArgumentError when the plan wants logits that the network does not have, or is not one */
  constructor(plan: CollectorPlan, state?: CollectorState) {
    this.plan = plan;
    const { needs, dim, classes, total, rows = 10_000, splits = 10 } = plan;
    const wants = (need: Need) => needs.includes(need);
    if (classes === null && (wants('inceptionScore') || wants('labels'))) {
      throw new InvalidArgumentError('Collector', 'expected a network with logits, such as inception or classifier');
    }
    const sample = (name: string, width = dim) =>
      state && name in state.arrays
        ? RowSample.fromState(rowState(state, name), width)
        : new RowSample(width, { limit: state ? (state.json.rowLimit as number) : rows });
    const { json = {}, arrays = {} } = state ?? {};
    const float64 = (name: string) => arrays[name] as Float64Array;
    if (state) [this.#count, this.#right] = [json.count as number, json.right as number];
    if (wants('gaussian')) {
      this.#gaussian = state
        ? FeatureStatistics.fromState({ count: this.#count, mean: float64('mean'), scatter: float64('scatter') })
        : new FeatureStatistics(dim);
    }
    if (wants('rows')) this.#rows = sample('rows');
    if (wants('textRows')) [this.#textRows, this.#textIds] = [sample('textRows'), sample('textIds', 1)];
    if (wants('inceptionScore')) {
      this.#score = state
        ? InceptionScoreStatistics.fromState({
            ...{ total, seed: json.scoreSeed as number, counts: float64('scoreCounts') },
            ...{ marginals: float64('scoreMarginals'), negativeEntropies: float64('scoreEntropies') },
          })
        : new InceptionScoreStatistics(classes!, total, { splits: Math.min(splits, total) });
    }
    if (wants('diversity')) {
      this.#diversity = state
        ? DiversityStatistics.fromState({
            ...{ count: this.#count, mean: float64('diversityMean'), scatter: json.diversityScatter as number },
          })
        : new DiversityStatistics(dim);
    }
    if (wants('similarity')) {
      this.#similarity = state ? SimilarityStatistics.fromState(json.similarity as never) : new SimilarityStatistics();
    }
  }

  get count(): number {
    return this.#count;
  }
  get recipe(): string {
    return this.plan.recipe;
  }
  get gaussian(): Gaussian | undefined {
    return this.#gaussian;
  }
  get rows(): Features | undefined {
    return this.#rows?.features;
  }
  get textRows(): Features | undefined {
    return this.#textRows?.features;
  }
  get textIds(): ArrayLike<number> | undefined {
    return this.#textIds?.seen === this.#count ? this.#textIds.features.data : undefined;
  }
  get inceptionScore(): Collected['inceptionScore'] {
    const statistics = this.#score;
    return statistics && { ...statistics.score(), splits: statistics.splits, classes: statistics.classes };
  }
  get diversity(): number | undefined {
    return this.#diversity?.score();
  }
  get similarity(): ClipScore | undefined {
    return this.#similarity?.score();
  }
  get labelAccuracy(): number | undefined {
    return this.plan.needs.includes('labels') ? this.#right / this.#count : undefined;
  }

  /**
   * Adds a batch, or nothing of it.
   *
   * @throws InvalidArgumentError when it lacks what the plan needs, sizes differ, or a number is not finite
   */
  add({ first, step = 1, features, logits, texts, textIds, labels }: CollectedBatch): this {
    const problems = problemsOf('features', features, 0);
    const missing = (need: Need[], value: unknown, what: string) => {
      if (value === undefined && this.plan.needs.some((n) => need.includes(n)))
        problems.push(`expected ${what}, got none`);
    };
    missing(['inceptionScore', 'labels'], logits, 'logits');
    missing(['similarity', 'textRows'], texts, 'texts');
    missing(['labels'], labels, 'labels');
    if (logits) problems.push(...problemsOf('logits', logits, 0));
    if (texts) problems.push(...problemsOf('texts', texts, 0));
    const ids = textIds && { data: Float64Array.from(textIds), count: features.count, dim: 1 };
    if (ids) problems.push(...problemsOf('textIds', ids, 0));
    if (ids?.data.some((id) => id !== Math.fround(id))) problems.push('textIds: expected whole numbers up to 2^24');
    if (problems.length > 0) throw new InvalidArgumentError('Collector.add', problems);
    this.#gaussian?.add(features);
    this.#rows?.add(features, first, step);
    this.#score?.add(logits!, first, step);
    this.#diversity?.add(features);
    this.#similarity?.add(features, texts!);
    this.#textRows?.add(texts!, first, step);
    if (ids) this.#textIds?.add(ids, first, step);
    if (labels !== undefined && logits !== undefined) {
      for (let i = 0; i < logits.count; i++) if (largest(logits, i) === labels[i]) this.#right += 1;
    }
    this.#count += features.count;
    return this;
  }

  /**
   * Adds what a collector of another shard has seen.
   *
   * @throws InvalidArgumentError when its plan is another one
   */
  merge(other: Collector): this {
    const [mine, theirs] = [this.plan, other.plan].map((plan) => JSON.stringify(sorted(plan)));
    if (mine !== theirs) throw new InvalidArgumentError('Collector.merge', `expected the plan ${mine}, got ${theirs}`);
    if (other.#gaussian) this.#gaussian!.merge(other.#gaussian);
    if (other.#rows) this.#rows!.merge(other.#rows);
    if (other.#textRows) this.#textRows!.merge(other.#textRows);
    if (other.#textIds) this.#textIds!.merge(other.#textIds);
    if (other.#score) this.#score!.merge(other.#score);
    if (other.#diversity) this.#diversity!.merge(other.#diversity);
    if (other.#similarity) this.#similarity!.merge(other.#similarity);
    this.#count += other.#count;
    this.#right += other.#right;
    return this;
  }

  /** What has been collected, to be stored. */
  state(): CollectorState {
    const score = this.#score?.state();
    const diversity = this.#diversity?.state();
    const gaussian = this.#gaussian?.state();
    const rows = (name: string, sample: RowSample | undefined) => {
      const s = sample?.state();
      return s ? { [name]: s.data, [`${name}Indices`]: s.indices } : {};
    };
    const sample = this.#rows ?? this.#textRows;
    return {
      json: {
        ...{ plan: this.plan, count: this.#count, right: this.#right },
        ...(score && { scoreSeed: score.seed }),
        ...(diversity && { diversityScatter: diversity.scatter }),
        ...(this.#similarity && { similarity: this.#similarity.state() }),
        ...(sample && { rowLimit: sample.limit, rowSeed: sample.seed }),
      },
      arrays: {
        ...(gaussian && { mean: gaussian.mean, scatter: gaussian.scatter }),
        ...(score && {
          ...{ scoreCounts: score.counts, scoreMarginals: score.marginals, scoreEntropies: score.negativeEntropies },
        }),
        ...(diversity && { diversityMean: diversity.mean }),
        ...rows('rows', this.#rows),
        ...rows('textRows', this.#textRows),
        ...(this.textIds && rows('textIds', this.#textIds)),
      },
    };
  }

  /**
   * A collector as it was stored.
   *
   * @throws InvalidArgumentError when the numbers do not fit the plan
   */
  static fromState(state: CollectorState): Collector {
    const plan = checkStored(state.json);
    const needed: Readonly<Record<string, readonly string[]>> = {
      gaussian: ['mean', 'scatter'],
      rows: ['rows', 'rowsIndices'],
      textRows: ['textRows', 'textRowsIndices'],
      inceptionScore: ['scoreCounts', 'scoreMarginals', 'scoreEntropies'],
      diversity: ['diversityMean'],
    };
    const missing = plan.needs.flatMap((need) => needed[need] ?? []).filter((name) => !(name in state.arrays));
    if (missing.length > 0) throw new InvalidArgumentError('Collector.fromState', `expected ${missing.join(', ')}`);
    return new Collector(plan, state);
  }
}

/** The plan of a stored collector; it and the numbers beside it come from a file, so each is checked. */
function checkStored(json: CollectorState['json']): CollectorPlan {
  const isCount = (value: unknown, least = 0) => Number.isSafeInteger(value) && (value as number) >= least;
  const isOptional = (value: unknown) => value === undefined || isCount(value, 1);
  const plan = (typeof json.plan === 'object' && json.plan !== null ? json.plan : {}) as Partial<CollectorPlan>;
  const { needs, dim, classes, total, recipe, rows, splits } = plan;
  const fields: Readonly<Record<string, boolean>> = {
    needs: Array.isArray(needs) && needs.every((need) => NEEDS.includes(need)),
    dim: isCount(dim, 1),
    classes: classes === null || isCount(classes, 1),
    total: isCount(total, 1),
    recipe: typeof recipe === 'string',
    rows: isOptional(rows),
    splits: isOptional(splits),
    count: isCount(json.count),
    right: isCount(json.right),
    rowLimit: isOptional(json.rowLimit),
    rowSeed: json.rowSeed === undefined || isCount(json.rowSeed),
    scoreSeed: json.scoreSeed === undefined || isCount(json.scoreSeed),
    diversityScatter: json.diversityScatter === undefined || Number.isFinite(json.diversityScatter),
  };
  const wrong = Object.entries(fields).flatMap(([name, right]) => (right ? [] : [name]));
  if (wrong.length > 0) {
    throw new InvalidArgumentError('Collector.fromState', `missing or malformed: ${wrong.join(', ')}`);
  }
  return plan as CollectorPlan;
}

const NEEDS: readonly Need[] = [
  ...(['gaussian', 'rows', 'inceptionScore', 'diversity', 'similarity', 'textRows', 'labels'] as const),
];

function rowState({ json, arrays }: CollectorState, name: string) {
  return {
    ...{ limit: json.rowLimit as number, seed: json.rowSeed as number, seen: json.count as number },
    ...{ indices: arrays[`${name}Indices`] as Float64Array, data: arrays[name] as Float32Array },
  };
}

/** A plan with its keys and needs in one order, so that equal plans are equal texts. */
function sorted(plan: CollectorPlan): unknown {
  const entries = Object.entries({ ...plan, needs: [...plan.needs].sort() });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Index of the largest number of row `i`. */
function largest({ data, dim }: Features, i: number): number {
  let best = 0;
  for (let y = 1; y < dim; y++) if (data[i * dim + y]! > data[i * dim + best]!) best = y;
  return best;
}

/**
 * Published statistics of a data set (`mu` `[D]` and `sigma` `[D, D]` of the `.npz` files of ADM, EDM, clean-fid and pytorch-fid) as
 * one side of the metrics that need no more.
 *
 * @throws InvalidArgumentError when the shapes are not those
 */
export function referenceStatistics(
  mu: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  sigma: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
): Collected {
  const dim = mu.shape[0] ?? 0;
  if (mu.shape.length !== 1 || String(sigma.shape) !== String([dim, dim])) {
    throw new InvalidArgumentError(
      'referenceStatistics',
      `expected mu [D] and sigma [D, D], got [${mu.shape}] and [${sigma.shape}]`,
    );
  }
  const gaussian = { dim, mean: Float64Array.from(mu.data), covariance: Float64Array.from(sigma.data) };
  return { count: null, recipe: null, gaussian };
}
