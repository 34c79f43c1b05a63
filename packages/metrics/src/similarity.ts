import { InvalidArgumentError } from '@mezzotint/core';
import { checkPair, type Features } from './features.js';

/** The sums of {@link SimilarityStatistics}, to be stored. */
export interface SimilarityState {
  readonly count: number;
  readonly sum: number;
  readonly squares: number;
  /** Sum of max(cosine, 0). */
  readonly positive: number;
}

/** What CLIP scores are, by whose definition. */
export interface ClipScore {
  /** Mean cosine of pictures and their texts, as the lecture prints it. */
  readonly cosine: number;
  /** Standard error of `cosine`. */
  readonly standardError: number;
  /** torchmetrics: max(100 mean cosine, 0). */
  readonly torchmetrics: number;
  /** J. Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning" (2021), eq. 1: mean of 2.5 max(cosine, 0). */
  readonly hessel: number;
}

/** Cosines of pairs of rows that come batch by batch. */
export class SimilarityStatistics {
  #state: SimilarityState = { count: 0, sum: 0, squares: 0, positive: 0 };

  /**
   * Adds pairs: row i of `a` and row i of `b`.
   *
   * @throws InvalidArgumentError for another number of rows, dims that differ, numbers that are not finite, or rows of zeros
   */
  add(a: Features, b: Features): this {
    const values = cosines('SimilarityStatistics.add', a, b);
    let { count, sum, squares, positive } = this.#state;
    for (const value of values) {
      count += 1;
      sum += value;
      squares += value * value;
      positive += Math.max(0, value);
    }
    this.#state = { count, sum, squares, positive };
    return this;
  }

  /** Adds what `other` has seen. */
  merge(other: SimilarityStatistics): this {
    const [a, b] = [this.#state, other.#state];
    const both = (name: keyof SimilarityState) => a[name] + b[name];
    this.#state = {
      ...{ count: both('count'), sum: both('sum') },
      ...{ squares: both('squares'), positive: both('positive') },
    };
    return this;
  }

  /** The score of all pairs. @throws InvalidArgumentError before the first pair */
  score(): ClipScore {
    const { count, sum, squares, positive } = this.#state;
    if (count === 0) throw new InvalidArgumentError('SimilarityStatistics', 'expected at least one pair, got none');
    const cosine = sum / count;
    const variance = Math.max(0, squares / count - cosine * cosine) * (count > 1 ? count / (count - 1) : 0);
    return {
      cosine,
      standardError: Math.sqrt(variance / count),
      torchmetrics: Math.max(100 * cosine, 0),
      hessel: (2.5 * positive) / count,
    };
  }

  /** What has been seen, to be stored. */
  state(): SimilarityState {
    return this.#state;
  }

  /** Goes on from a stored state. @throws InvalidArgumentError when it is none */
  static fromState(state: SimilarityState): SimilarityStatistics {
    const { count, sum, squares, positive } = state ?? {};
    if (!Number.isSafeInteger(count) || count < 0 || ![sum, squares, positive].every(Number.isFinite)) {
      throw new InvalidArgumentError('SimilarityStatistics.fromState', 'expected a count and three finite sums');
    }
    const statistics = new SimilarityStatistics();
    statistics.#state = { count, sum, squares, positive };
    return statistics;
  }
}

/** Mean cosine of row i of `a` and row i of `b`: image-image similarity of pairs. @throws as {@link SimilarityStatistics.add} */
export function pairedSimilarity(a: Features, b: Features): number {
  const values = cosines('pairedSimilarity', a, b);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Directional similarity of edits: mean cosine of the change of the picture and the change of the text,
 * (E(after) - E(before)) and (T(after) - T(before)), embeddings of unit length. R. Gal et al., "StyleGAN-NADA" (2022), eq. 2.
 *
 * @throws InvalidArgumentError as {@link SimilarityStatistics.add}, also where numbers of rows differ or nothing changed
 */
export function directionalSimilarity(
  pictures: { readonly before: Features; readonly after: Features },
  texts: { readonly before: Features; readonly after: Features },
): number {
  const pairs = { picturesBefore: pictures.before, picturesAfter: pictures.after };
  const all = { ...pairs, textsBefore: texts.before, textsAfter: texts.after };
  checkPair('directionalSimilarity', all, 1);
  const counts = Object.entries(all).map(([name, { count }]) => `${name} ${count}`);
  if (new Set(Object.values(all).map(({ count }) => count)).size > 1) {
    throw new InvalidArgumentError(
      'directionalSimilarity',
      `expected as many rows everywhere, got ${counts.join(', ')}`,
    );
  }
  return pairedSimilarity(changes(pictures.before, pictures.after), changes(texts.before, texts.after));
}

/** Differences of rows of unit length. */
function changes(before: Features, after: Features): Features {
  const { count, dim } = after;
  const data = new Float64Array(count * dim);
  for (let i = 0; i < count; i++) {
    const [p, q] = [lengthOf(before, i), lengthOf(after, i)];
    for (let k = i * dim; k < (i + 1) * dim; k++) data[k] = after.data[k]! / q - before.data[k]! / p;
  }
  return { data, count, dim };
}

function lengthOf({ data, dim }: Features, i: number): number {
  let squares = 0;
  for (let k = i * dim; k < (i + 1) * dim; k++) squares += data[k]! * data[k]!;
  return Math.sqrt(squares);
}

function cosines(who: string, a: Features, b: Features): Float64Array {
  checkPair(who, { a, b }, 1);
  if (a.count !== b.count) {
    throw new InvalidArgumentError(who, `expected pairs, as many rows on both sides, got ${a.count} and ${b.count}`);
  }
  const { count, dim } = a;
  return Float64Array.from({ length: count }, (_, i) => {
    let dot = 0;
    for (let k = i * dim; k < (i + 1) * dim; k++) dot += a.data[k]! * b.data[k]!;
    const length = lengthOf(a, i) * lengthOf(b, i);
    if (length === 0)
      throw new InvalidArgumentError(who, `row ${i}: expected a direction, got zeros (nothing changed?)`);
    return dot / length;
  });
}
