import { basename } from 'node:path';
import type { Bitmap } from '@mezzotint/data';
import { plotHeatMap, plotLines } from '@mezzotint/figures';
import { metricNamed } from '../registry.js';
import { type Evaluation, metricTitle, type ResultRow } from './evaluation.js';

/** The last number of a model's name: the length of an average, the number of a snapshot. */
const numberIn = (model: string | null) =>
  Number(/(\d+(?:\.\d+)?)(?!.*\d)/.exec(basename(model ?? ''))?.[1] ?? Number.NaN);

/**
 * A picture of a metric over guidance scales, a line for each model; over models, where there is one scale; or a heat map of both, where
 * there are several of both and the models are averages of different lengths (EDM2, figure 6).
 */
export function plotEvaluation({ rows, features }: Evaluation, metric: string): Bitmap {
  const against = rows[0]?.against ?? null; // the first set compared with, where there are several
  const shown = rows.filter((row) => row.against === against && metric in row.metrics);
  const models = [...new Set(shown.map(({ model }) => model))];
  const overModels = models.length > 1 && new Set(shown.map(({ guidance }) => guidance)).size === 1;
  const numbers = models.map(numberIn);
  const told = numbers.every(Number.isFinite) && new Set(numbers).size === numbers.length;
  const scales = [...new Set(shown.map(({ guidance }) => guidance))];
  if (told && models.length > 1 && scales.length > 1) {
    const order = models.toSorted((a, b) => numberIn(a) - numberIn(b));
    const valueAt = (model: string | null, guidance: number | null) =>
      shown.find((row) => row.model === model && row.guidance === guidance)?.metrics[metric]?.value ?? Number.NaN;
    return plotHeatMap(
      order.map((model) => scales.map((guidance) => valueAt(model, guidance))),
      {
        ...{ rows: order.map((model) => basename(model!)), columns: scales.map(String), columnLabel: 'guidance scale' },
        title: `${metricTitle(metric, features)}: ${metricNamed(metric).about}`,
        best: metricNamed(metric).better === 'lower' ? 'lowest' : 'highest',
      },
    );
  }
  const placeOf = ({ model, guidance }: ResultRow) => {
    const at = models.indexOf(model);
    return overModels ? (told ? numbers[at]! : at) : (guidance ?? 0);
  };
  const series = (name: string, own: readonly ResultRow[]) => {
    const sorted = own.toSorted((a, b) => placeOf(a) - placeOf(b));
    return { name, x: sorted.map(placeOf), y: sorted.map((row) => row.metrics[metric]!.value) };
  };
  const lines = overModels
    ? [series(metric, shown)]
    : models.map((model) =>
        series(
          basename(model ?? metric),
          shown.filter((row) => row.model === model),
        ),
      );
  const xLabel = overModels ? `model${told ? ', by the last number of its name' : ''}` : 'guidance scale';
  const title = metricNamed(metric).about;
  return plotLines(lines, { title, xLabel, yLabel: metricTitle(metric, features) });
}
