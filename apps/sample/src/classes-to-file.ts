import { resolve } from 'node:path';
import { type CommandContext, openRemoteModel, parseLabels, type SamplingJobs, startProgress } from '@mezzotint/app';
import type { EngineWorker } from '@mezzotint/backend/worker';
import { imageGrid, writePng } from '@mezzotint/data';
import type { SolverName } from '@mezzotint/schedulers';
import { withEngineThread } from './engine-thread.js';
import type { SampleSettings } from './settings.js';

/** Samples from a model of classes, or an unconditional one. */
export function classesToFile(settings: SampleSettings, context: CommandContext): Promise<void> {
  return withEngineThread(settings.engine, (worker) => sampleIn(worker, settings, context));
}

async function sampleIn(
  worker: EngineWorker<SamplingJobs>,
  settings: SampleSettings,
  { signal, say, result }: CommandContext,
): Promise<void> {
  const overwrite = settings.overwrite ?? false;
  const { engine } = worker;
  const model = await openRemoteModel(worker, settings.model);
  const { config } = model;

  const each = settings.count ?? 10;
  const conditional = config.classes.length > 0;
  const kinds = conditional ? parseLabels(settings.labels ?? `0-${config.classes.length - 1}`, config.classes) : [];
  const labels = kinds.flatMap((label) => Array<number>(each).fill(label));
  const recipe = {
    solver: settings.solver ?? (config.sampling.solver as SolverName),
    steps: settings.steps ?? config.sampling.steps,
    guidance: settings.guidance ?? config.sampling.guidance,
    seed: settings.seed ?? 0,
    labels,
    count: conditional ? labels.length : each,
  };
  const progress = startProgress('Sampling', 1);
  const onStep = (done: number, total: number) => progress.update(done, total);
  const images = await model
    .sampleImages({ ...recipe, batchSize: settings.batch ?? 50 }, { signal, onStep })
    .finally(() => progress.stop());

  const columns = settings.columns ?? (conditional ? each : Math.ceil(Math.sqrt(each)));
  const rowPerLabel = conditional && columns === each;
  const grid = imageGrid(images, {
    columns,
    scale: settings.scale ?? (config.image.size < 64 ? 2 : 1),
    ...(rowPerLabel && { rowLabels: kinds.map((label) => config.classes[label]!) }),
  });
  await writePng(settings.out, grid, {
    overwrite,
    text: { mezzotint: JSON.stringify({ ...recipe, engine: engine.name }) },
  });

  say(
    `${recipe.count} images in ${images.seconds.toFixed(1)} s (first batch after ${images.firstSeconds.toFixed(1)} s)`,
  );
  say(`Engine: ${engine.name} ${engine.version} (${engine.device})`);
  say(`Picture: ${resolve(settings.out)}`);
  result({
    file: resolve(settings.out),
    engine: engine.name,
    seconds: images.seconds,
    firstSeconds: images.firstSeconds,
    ...recipe,
  });
}
