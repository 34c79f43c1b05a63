import type { Collected } from '../collector.js';
import { computeMetrics, type MetricOptions, type MetricResult, metricNamed } from '../registry.js';

/** One side of an evaluation: which pictures, and what is said of them. */
export interface Side {
  /** The file of its statistics inside of a run folder. */
  readonly key: string;
  readonly name: string;
  /** What a reader has to know of it: that a model was trained on it. */
  readonly note?: string;
  readonly model?: string;
  readonly guidance?: number;
}

/** What is computed of which sides. A plain JSON value, so that shards can be merged later. */
export interface EvaluationPlan {
  readonly metrics: readonly string[];
  readonly options: MetricOptions;
  readonly features: string;
  readonly generated: readonly Side[];
  readonly real: readonly Side[];
  /** Other real pictures: how far apart two real sets of this size are. */
  readonly floor?: Side;
}

/** Scores of one set of pictures against one other. */
export interface ResultRow {
  readonly generated: string;
  readonly model: string | null;
  readonly guidance: number | null;
  readonly against: string | null;
  readonly metrics: Readonly<Record<string, Omit<MetricResult, 'name' | 'recipe'>>>;
}

/** All scores of an evaluation, as JSON. */
export interface Evaluation {
  readonly features: string;
  readonly recipe: string;
  readonly rows: readonly ResultRow[];
  /** Distances of the real pictures from other real ones, as many. */
  readonly realAgainstReal: Readonly<Record<string, number>> | null;
}

/**
 * Computes the metrics of every set of generated pictures against every set of real ones, and tells them line by line.
 *
 * @param collected what was collected of each side, by its key
 * @throws InvalidArgumentError as {@link computeMetrics}
 */
export function computeEvaluation(
  plan: EvaluationPlan,
  collected: ReadonlyMap<string, Collected>,
  say: (line: string) => void = () => undefined,
): Evaluation {
  const wanted = plan.metrics.map(metricNamed);
  const compared = wanted.filter(({ needs }) => needs.real !== undefined);
  const recipe = [...collected.values()].map((side) => side.recipe).find((text) => text !== null) ?? 'unknown';
  say(`Features: ${recipe}`);
  let realAgainstReal: Record<string, number> | null = null;
  if (plan.floor !== undefined) {
    const [other, first] = [collected.get(plan.floor.key)!, collected.get(plan.real[0]!.key)!];
    const distances = compared.filter(({ needs }) => needs.generated.includes('gaussian'));
    const results = computeMetrics(distances, other, first, plan.options);
    realAgainstReal = Object.fromEntries(results.map(({ name, value }) => [name, value]));
    for (const { name, value } of results) {
      say(
        `${first.count} real pictures against ${other.count} other real ones: ${metricTitle(name, plan.features)} ${value.toFixed(4)}`,
      );
    }
  }
  const rows: ResultRow[] = [];
  for (const side of plan.generated) {
    const generated = collected.get(side.key)!;
    const others: readonly (Side | undefined)[] = plan.real.length > 0 ? plan.real : [undefined];
    for (const [i, real] of others.entries()) {
      const metrics = i === 0 ? wanted : compared;
      if (metrics.length === 0) continue;
      const results = computeMetrics(metrics, generated, real && collected.get(real.key), plan.options);
      say(
        `${side.name}, ${generated.count} pictures${real === undefined ? '' : againstOf(real, collected.get(real.key))}:`,
      );
      for (const result of results) for (const line of linesOf(result, plan, realAgainstReal)) say(line);
      rows.push({
        ...{
          generated: side.name,
          model: side.model ?? null,
          guidance: side.guidance ?? null,
          against: real?.name ?? null,
        },
        metrics: Object.fromEntries(results.map(({ name, recipe: _recipe, ...result }) => [name, result])),
      });
    }
  }
  return { features: plan.features, recipe, rows, realAgainstReal };
}

/** What pictures are compared with, how many those are, and what has to be known of them. */
function againstOf({ name, note }: Side, of: Collected | undefined): string {
  const pictures = of?.count == null ? '' : `, ${of.count} pictures`;
  return ` against ${name}${pictures}${note === undefined ? '' : ` (${note})`}`;
}

/** A metric's name; where other features than its own were taken, it says so: `fid [classifier]`. */
export function metricTitle(name: string, features: string): string {
  const { network } = metricNamed(name);
  const same = features === network || features.startsWith(`${network}-`);
  return same ? name : `${name} [${features}]`;
}

function linesOf(
  { name, value, parts = {}, notes = [] }: MetricResult,
  { features }: EvaluationPlan,
  floor: Readonly<Record<string, number>> | null,
): string[] {
  const digits = (x: number) => (Math.abs(x) >= 0.01 || x === 0 ? x.toFixed(4) : x.toExponential(3));
  const real = floor?.[name] ?? 0;
  const ratio = real > 0 ? ` (${(value / real).toFixed(2)} times real against real)` : '';
  const extras = Object.entries(parts).map(([part, number]) => `${part} ${digits(number)}`);
  const own = Object.values(parts).includes(value) ? [] : [`${digits(value)}${ratio}`];
  const text = `  ${metricTitle(name, features).padEnd(24)} ${[...own, ...extras].join(', ')}`;
  return [text, ...notes.map((note) => `    note: ${note}`)];
}
