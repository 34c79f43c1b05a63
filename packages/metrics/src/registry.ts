import { InvalidArgumentError } from '@mezzotint/core';
import { cmmd } from './cmmd.js';
import type { Collected, Need } from './collector.js';
import { frechetDistance } from './frechet-distance.js';
import { frechetDistanceAtInfinity, INFINITY_CUTS } from './frechet-infinity.js';
import { kernelDistance } from './kernel-distance.js';
import { kernelDistanceOfSubsets } from './kernel-distance-of-subsets.js';
import { memorization } from './memorization.js';
import { prdc } from './prdc.js';
import { retrieval } from './retrieval.js';
import { directionalSimilarity, pairedSimilarity } from './similarity.js';

/** Settings of the metrics; each default is its reference's. */
export interface MetricOptions {
  /** Neighbours of precision, recall, density and coverage. Default 3 (Kynkäänniemi); Naeem takes 5. */
  readonly k?: number;
  /** Subsets of KID. Default 100. */
  readonly subsets?: number;
  /** Rows of a subset of KID. Default 1000, or the smaller set where it has fewer, which a note says. */
  readonly subsetSize?: number;
  /** Seed of subsets and cuts. Default 2020, torch-fidelity's. */
  readonly seed?: number;
}

/** What a metric comes to. */
export interface MetricValue {
  /** The number that papers print. */
  readonly value: number;
  /** What else it computes: errors, intervals, the scores that come with it, by name. */
  readonly parts?: Readonly<Record<string, number>>;
  /** What a reader has to know: few samples, a subset. */
  readonly notes?: readonly string[];
}

/** A side with everything that a metric needs of it, which {@link computeMetrics} has checked. */
type Complete = { readonly [K in Exclude<keyof Collected, 'textIds'>]-?: Exclude<Collected[K], undefined> } & Pick<
  Collected,
  'textIds'
>;

/** A metric: one entry of the registry. */
export interface Metric {
  readonly name: string;
  /** One line: what it measures, paper. */
  readonly about: string;
  readonly better: 'lower' | 'higher';
  /** The feature network that it is defined with (a name in the registry of `@mezzotint/features`). */
  readonly network: string;
  /** What is kept of the generated pictures, and of those they are compared with; no `real` where there is no such side. */
  readonly needs: { readonly generated: readonly Need[]; readonly real?: readonly Need[] };
  /** @throws InvalidArgumentError as the function behind it */
  compute(generated: Complete, real: Complete, options: MetricOptions): MetricValue;
}

const gaussians = { generated: ['gaussian'], real: ['gaussian'] } as const;
const rowsOfBoth = { generated: ['rows'], real: ['rows'] } as const;

/** Warns of fewer pictures than dimensions: the covariance is singular and the distance far too large. */
function fewNotes(sides: Readonly<Record<string, Pick<Collected, 'count'>>>, dim: number): string[] {
  return Object.entries(sides)
    .filter(([, { count }]) => count !== null && count <= dim)
    .map(
      ([name, { count }]) =>
        `${count} ${name} pictures for ${dim} features: too few, the value is far above that of many`,
    );
}

/** Says when only a sample of the rows was compared. */
function sampleNotes(sides: Readonly<Record<string, Pick<Collected, 'count' | 'rows'>>>): string[] {
  return Object.entries(sides)
    .filter(([, { count, rows }]) => count !== null && rows !== undefined && rows.count < count)
    .map(([name, { count, rows }]) => `of a random ${rows!.count} of ${count} ${name} pictures`);
}

const fid: Metric = {
  name: 'fid',
  about: 'Fréchet inception distance (Heusel et al. 2017)',
  better: 'lower',
  network: 'inception',
  needs: gaussians,
  compute: (generated, real) => ({
    value: frechetDistance(generated.gaussian, real.gaussian),
    notes: fewNotes({ generated, real }, generated.gaussian.dim),
  }),
};

/** Whether two pictures have one prompt: their texts are the same, or such that the network gives the same features. */
function samePrompt({ textRows: { data, dim }, textIds }: Pick<Complete, 'textRows' | 'textIds'>) {
  return (a: number, b: number): boolean =>
    a === b ||
    (textIds !== undefined && textIds[a] === textIds[b]) ||
    data.subarray(a * dim, (a + 1) * dim).every((value, k) => value === data[b * dim + k]);
}

/** Every metric of this package. */
export const metrics: readonly Metric[] = [
  fid,
  {
    ...fid,
    name: 'fd-dinov2',
    about: 'Fréchet distance of DINOv2 features (Stein et al. 2023)',
    network: 'dinov2-vit-l-14',
  },
  {
    name: 'fid-infinity',
    about: 'Fréchet distance extrapolated to infinitely many samples, with a 95 % interval (Chong and Forsyth 2020)',
    better: 'lower',
    network: 'inception',
    needs: { generated: ['rows'], real: ['gaussian'] },
    compute: (generated, real, { seed = 2020 }) => {
      const { value, low, high } = frechetDistanceAtInfinity(generated.rows, real.gaussian, { seed });
      const { count, dim } = generated.rows;
      const smallest = Math.floor(count / INFINITY_CUTS);
      const notes =
        smallest < 2 * dim
          ? [
              `parts of down to ${smallest} pictures for ${dim} features: too few for a line, value and interval are too low`,
            ]
          : [];
      return { value, parts: { low, high }, notes: [...notes, ...sampleNotes({ generated })] };
    },
  },
  {
    name: 'kid',
    about: 'kernel inception distance over subsets (Bińkowski et al. 2018)',
    better: 'lower',
    network: 'inception',
    needs: rowsOfBoth,
    compute: (generated, real, { subsets = 100, subsetSize = 1000, seed = 2020 }) => {
      const size = Math.min(subsetSize, generated.rows.count, real.rows.count);
      const { mean, standardDeviation } = kernelDistanceOfSubsets(generated.rows, real.rows, {
        subsets,
        subsetSize: size,
        seed,
      });
      const smaller = size < subsetSize ? [`subsets of ${size}, the smaller set, instead of ${subsetSize}`] : [];
      return { value: mean, parts: { standardDeviation }, notes: [...smaller, ...sampleNotes({ generated, real })] };
    },
  },
  {
    name: 'kid-all',
    about: 'kernel inception distance of all pairs with its standard error (Bińkowski et al. 2018, eq. 4)',
    better: 'lower',
    network: 'inception',
    needs: rowsOfBoth,
    compute: (generated, real) => {
      const { value, standardError } = kernelDistance(generated.rows, real.rows);
      return { value, parts: { standardError }, notes: sampleNotes({ generated, real }) };
    },
  },
  {
    name: 'is',
    about: 'inception score (Salimans et al. 2016)',
    better: 'higher',
    network: 'inception',
    needs: { generated: ['inceptionScore'] },
    compute: ({ count, inceptionScore: { mean, standardDeviation, splits = 1, classes = 0 } }) => {
      const most = Math.ceil((count ?? Number.POSITIVE_INFINITY) / splits);
      const notes = most < classes ? [`of ${splits} splits of at most ${most} pictures: it cannot exceed ${most}`] : [];
      return { value: mean, parts: { standardDeviation }, notes };
    },
  },
  {
    name: 'prdc',
    about:
      'precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020); the value is precision',
    better: 'higher',
    network: 'inception',
    needs: rowsOfBoth,
    compute: (generated, real, { k = 3 }) => {
      const scores = prdc(real.rows, generated.rows, { k });
      return { value: scores.precision, parts: { ...scores }, notes: sampleNotes({ generated, real }) };
    },
  },
  {
    name: 'cmmd',
    about: 'maximum mean discrepancy of CLIP embeddings (Jayasumana et al. 2024)',
    better: 'lower',
    network: 'clip-vit-l-14-336',
    needs: rowsOfBoth,
    compute: (generated, real) => ({
      value: cmmd(generated.rows, real.rows),
      notes: sampleNotes({ generated, real }),
    }),
  },
  {
    name: 'clip-score',
    about: 'cosine of pictures and their prompts (Hessel et al. 2021)',
    better: 'higher',
    network: 'clip-vit-l-14',
    needs: { generated: ['similarity'] },
    compute: ({ similarity: { cosine, ...parts } }) => ({ value: cosine, parts }),
  },
  {
    name: 'retrieval',
    about:
      'share of pictures whose own prompt is among the 10 closest of all prompts (recall at K, Radford et al. 2021)',
    better: 'higher',
    network: 'clip-vit-l-14',
    needs: { generated: ['rows', 'textRows'] },
    compute: ({ rows, textRows, textIds }) => {
      const { recall, medianRank } = retrieval(rows, textRows, { right: samePrompt({ textRows, textIds }) });
      const at = Object.fromEntries(recall.map(({ rank, value }) => [`recallAt${rank}`, value]));
      const certain = Object.keys(at).filter((_, i) => recall[i]!.rank >= textRows.count);
      return {
        value: at.recallAt10!,
        parts: { ...at, medianRank, prompts: textRows.count },
        notes:
          certain.length > 0
            ? [`with ${textRows.count} prompts ${certain.join(', ')} would be 1 for any pictures`]
            : [],
      };
    },
  },
  {
    name: 'clip-directional',
    about: 'cosine of the change of pictures and the change of their prompts (Gal et al. 2022)',
    better: 'higher',
    network: 'clip-vit-l-14',
    needs: { generated: ['rows', 'textRows'], real: ['rows', 'textRows'] },
    compute: (generated, real) => ({
      value: directionalSimilarity(
        { before: real.rows, after: generated.rows },
        { before: real.textRows, after: generated.textRows },
      ),
      notes: sampleNotes({ generated }),
    }),
  },
  {
    name: 'clip-image',
    about: 'cosine of pictures and their counterparts, in the order of their names',
    better: 'higher',
    network: 'clip-vit-l-14',
    needs: rowsOfBoth,
    compute: (generated, real) => ({
      value: pairedSimilarity(generated.rows, real.rows),
      notes: sampleNotes({ generated }),
    }),
  },
  {
    name: 'lpips-diversity',
    about: 'mean LPIPS over all pairs of generated pictures (Zhang et al. 2018)',
    better: 'higher',
    network: 'lpips',
    needs: { generated: ['diversity'] },
    compute: ({ diversity }) => ({ value: diversity }),
  },
  {
    name: 'memorization',
    about: 'share of pictures copied from the data (Yoon et al. 2023), and authenticity (Alaa et al. 2022)',
    better: 'lower',
    network: 'inception',
    needs: rowsOfBoth,
    compute: (generated, real) => {
      const { memorized, authenticity } = memorization(generated.rows, real.rows);
      return { value: memorized, parts: { authenticity }, notes: sampleNotes({ generated, real }) };
    },
  },
  {
    name: 'label-accuracy',
    about: 'share of pictures that a classifier reads as the label asked for',
    better: 'higher',
    network: 'classifier',
    needs: { generated: ['labels'] },
    compute: ({ labelAccuracy }) => ({ value: labelAccuracy }),
  },
];

/**
 * A metric by its name.
 *
 * @throws InvalidArgumentError that lists those there are
 */
export function metricNamed(name: string): Metric {
  const found = metrics.find((metric) => metric.name === name);
  if (found !== undefined) return found;
  throw new InvalidArgumentError('metrics', `expected one of ${metrics.map((m) => m.name).join(', ')}, got '${name}'`);
}

/** A metric's value with what it was computed from. */
export interface MetricResult extends MetricValue {
  readonly name: string;
  /** Network and preprocessing: results compare only when their recipes are equal. */
  readonly recipe: string;
  /** Generated pictures. */
  readonly count: number;
  /** Pictures that they were compared with; null without such, or where a statistics file does not say. */
  readonly against: number | null;
}

/**
 * Computes metrics of what was collected.
 *
 * @throws InvalidArgumentError with everything that is missing on a side, features of two recipes, or what the metrics throw (too few
 *   pictures), all at once
 */
export function computeMetrics(
  wanted: readonly Metric[],
  generated: Collected,
  real: Collected | undefined,
  options: MetricOptions = {},
): MetricResult[] {
  const problems: string[] = [];
  const check = (
    metric: Metric,
    side: string,
    collected: Collected | undefined,
    needs: readonly Need[] | undefined,
  ) => {
    for (const need of needs ?? []) {
      const key = need === 'labels' ? 'labelAccuracy' : need;
      if (collected === undefined) problems.push(`${metric.name}: needs pictures to compare with, got none`);
      else if (collected[key] === undefined) {
        problems.push(`${metric.name}: needs ${describe[need]} of the ${side} pictures, which were not kept`);
      }
    }
  };
  for (const metric of wanted) {
    check(metric, 'generated', generated, metric.needs.generated);
    check(metric, 'real', real, metric.needs.real);
  }
  if (real?.recipe && generated.recipe && real.recipe !== generated.recipe) {
    problems.push(`expected features of one recipe, got '${generated.recipe}' and '${real.recipe}'`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('metrics', [...new Set(problems)]);
  const results = wanted.flatMap((metric): MetricResult[] => {
    const against = metric.needs.real ? (real?.count ?? null) : null;
    try {
      const value = metric.compute(generated as Complete, real as Complete, options);
      const recipe = generated.recipe ?? real?.recipe ?? 'unknown';
      return [{ name: metric.name, ...value, recipe, count: generated.count ?? 0, against }];
    } catch (error) {
      if (!InvalidArgumentError.isInstance(error)) throw error;
      const of = `${generated.count ?? '?'} pictures${metric.needs.real ? ` against ${against ?? '?'}` : ''}`;
      problems.push(...error.problems.map((problem) => `${metric.name} of ${of}: ${problem}`));
      return [];
    }
  });
  if (problems.length > 0) throw new InvalidArgumentError('metrics', problems);
  return results;
}

const describe: Readonly<Record<Need, string>> = {
  gaussian: 'mean and covariance',
  rows: 'the rows of features (a file of mu and sigma has none)',
  inceptionScore: 'logits',
  diversity: 'the spread of features',
  similarity: 'a prompt for each',
  textRows: 'a prompt for each',
  labels: 'the labels asked for',
};
