import { resolve } from 'node:path';
import {
  type CommandContext,
  openDiffusionModel,
  parseLabels,
  prepareOutput,
  sampleImages,
  startProgress,
} from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { imageGrid, writePng } from '@mezzotint/data';
import type { SolverName } from '@mezzotint/schedulers';
import type { SampleFlags } from './command.js';
import { mergeSettings } from './settings.js';

/** Samples as the flags say, writes the picture and says where it is. */
export async function sampleToFile(flags: SampleFlags, { signal, say, result }: CommandContext): Promise<void> {
  const settings = mergeSettings(flags);
  const overwrite = flags.overwrite ?? false;
  prepareOutput(settings.out, overwrite);
  const engine = await useBackend({ engine: settings.engine });
  const opened = await openDiffusionModel(settings.model);
  const { config } = opened;

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
  let images: Awaited<ReturnType<typeof sampleImages>>;
  try {
    images = await sampleImages(
      opened,
      { ...recipe, batchSize: settings.batch ?? 50 },
      {
        signal,
        onStep: (done, total) => progress.update(done, total),
      },
    );
  } finally {
    progress.stop();
  }

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
