import {
  type CommandContext,
  openImages,
  openRemoteModel,
  parseImageSource,
  type SamplingJobs,
  startProgress,
} from '@mezzotint/app';
import { EngineWorker } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { type ImageSet, splitImages } from '@mezzotint/data';
import type { Features } from '@mezzotint/metrics';
import type { SolverName } from '@mezzotint/schedulers';
import type { EvaluateFlags } from './command.js';
import type { Images } from './reader.js';
import type { ReadingJobs } from './reading-jobs.js';
import { frechet, labelAccuracy, type Scores, score } from './scores.js';
import { mergeSettings } from './settings.js';

/** Seed of the split of the real images into those compared with and the other ones. */
const splitSeed = 1;

/** Samples, reads, scores and prints, one line for each guidance scale. */
export async function evaluateModel(flags: EvaluateFlags, context: CommandContext): Promise<void> {
  const settings = mergeSettings(flags);
  const jobs = new URL('./jobs.js', import.meta.url);
  const worker = await EngineWorker.start<SamplingJobs & ReadingJobs>(jobs, { engine: settings.engine });
  try {
    await evaluateIn(worker, settings, context);
  } finally {
    await worker.close();
  }
}

async function evaluateIn(
  worker: EngineWorker<SamplingJobs & ReadingJobs>,
  settings: ReturnType<typeof mergeSettings>,
  { signal, say, result }: CommandContext,
): Promise<void> {
  const { count } = settings;
  const { engine } = worker;
  const model = await openRemoteModel(worker, settings.model);
  const { image, classes, sampling } = model.config;
  checkFit(model.config, await worker.run('openClassifier', settings.classifier));
  const { real, other } = split(await openImages(parseImageSource(settings.data, image.size, image.channels)), count);
  checkImages(real, image);

  const read = (what: string, { images, count, height, width, channels }: Images) => {
    const progress = startProgress(`Reading ${what}`, count);
    const plan = { images, count, height, width, channels, batchSize: settings.batch ?? 100 };
    return worker
      .run('readImages', plan, { signal, onReport: (done) => progress.update(done) })
      .finally(() => progress.stop());
  };
  const realReading = await read('real images', real);
  const realAccuracy = labelAccuracy(realReading.classes, [...real.labels]);
  const realFrechet = other && frechet(realReading.features, (await read('other real images', other)).features);
  say(`Engine ${engine.name} ${engine.version}; ${count} samples against ${real.count} real images`);
  if (realFrechet !== undefined)
    say(`Real against ${other!.count} other real images: Fréchet distance ${realFrechet.toFixed(4)}`);

  const labels = classes.length === 0 ? [] : Array.from({ length: count }, (_, i) => i % classes.length);
  const plan = {
    solver: settings.solver ?? (sampling.solver as SolverName),
    steps: settings.steps ?? sampling.steps,
    seed: settings.seed ?? 0,
    batchSize: settings.batch ?? 100,
    labels,
    count,
  };
  const rows: (Scores & { guidance: number; labelAccuracy: number | null; seconds: number })[] = [];
  for (const guidance of settings.guidance ?? [sampling.guidance]) {
    const progress = startProgress(`Sampling at guidance ${guidance}`, 1);
    const onStep = (done: number, total: number) => progress.update(done, total);
    const samples = await model.sampleImages({ ...plan, guidance }, { signal, onStep }).finally(() => progress.stop());
    const reading = await read('samples', samples);
    const row = {
      guidance,
      ...score(realReading.features as Features, reading.features),
      labelAccuracy: labels.length === 0 ? null : labelAccuracy(reading.classes, labels),
      seconds: samples.seconds,
    };
    rows.push(row);
    for (const line of table(row, realFrechet)) say(line);
  }
  result({
    ...{ count, solver: plan.solver, steps: plan.steps, seed: plan.seed, engine: engine.name, data: settings.data },
    ...{ realFrechetDistance: realFrechet ?? null, classifierAccuracyOnReal: realAccuracy, rows },
  });
}

function table(
  row: Scores & { guidance: number; labelAccuracy: number | null; seconds: number },
  real?: number,
): string[] {
  const share = (value: number) => `${(100 * value).toFixed(1)} %`;
  const ratio = real === undefined ? '' : ` (${(row.frechetDistance / real).toFixed(2)} times real against real)`;
  return [
    `Guidance ${row.guidance} (${row.seconds.toFixed(0)} s):`,
    `  Fréchet distance     ${row.frechetDistance.toFixed(4)}${ratio}`,
    `  KID                  ${row.kid.toFixed(5)} ± ${row.kidError.toFixed(5)}`,
    `  precision, recall    ${row.precision.toFixed(3)}, ${row.recall.toFixed(3)}`,
    `  density, coverage    ${row.density.toFixed(3)}, ${row.coverage.toFixed(3)}`,
    ...(row.labelAccuracy === null ? [] : [`  read as asked for    ${share(row.labelAccuracy)}`]),
  ];
}

/** `count` real images to compare with and, if there are as many more, the others, by a fixed shuffle. */
function split(images: ImageSet, count: number): { real: ImageSet; other: ImageSet | undefined } {
  if (images.count >= 2 * count) {
    const [real, other] = splitImages(images, [count, count], splitSeed);
    return { real, other };
  }
  const [real] = splitImages(images, [Math.min(count, images.count)], splitSeed);
  return { real, other: undefined };
}

function checkFit(
  model: { image: { size: number; channels: number }; classes: readonly string[] },
  classifier: { image: { size: number; channels: number }; classes: readonly string[] },
): void {
  const problems: string[] = [];
  const [a, b] = [model.image, classifier.image];
  if (a.size !== b.size || a.channels !== b.channels) {
    problems.push(
      `it reads ${b.size} x ${b.size} x ${b.channels}, the model makes ${a.size} x ${a.size} x ${a.channels}`,
    );
  }
  if (model.classes.length > 0 && model.classes.join('\n') !== classifier.classes.join('\n')) {
    problems.push(`its classes (${classifier.classes.join(', ')}) are not the model's (${model.classes.join(', ')})`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('--classifier', problems);
}

function checkImages(images: ImageSet, { size, channels }: { size: number; channels: number }): void {
  if (images.height !== size || images.width !== size || images.channels !== channels) {
    throw new InvalidArgumentError(
      '--data',
      `expected images of ${size} x ${size} x ${channels}, got ${images.height} x ${images.width} x ${images.channels}`,
    );
  }
}
