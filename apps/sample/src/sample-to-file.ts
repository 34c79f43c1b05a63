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
import { InvalidArgumentError } from '@mezzotint/core';
import { imageGrid, writePng } from '@mezzotint/data';
import type { SolverName } from '@mezzotint/schedulers';
import type { SampleFlags } from './command.js';
import { takesPrompts } from './latent/open-folder.js';
import { picturesToFile } from './latent/pictures-to-file.js';
import { readRecipe } from './latent/recipe.js';
import { mergeSettings, type SampleSettings } from './settings.js';

/** Samples as the flags say, writes the picture and says where it is. */
export async function sampleToFile(flags: SampleFlags, context: CommandContext): Promise<void> {
  const recipe = flags.replay === undefined ? undefined : await readRecipe(flags.replay);
  const settings = mergeSettings(flags, recipe);
  const overwrite = flags.overwrite ?? false;
  prepareOutput(settings.out, overwrite);
  if (takesPrompts(settings.model)) {
    const { prompt } = settings;
    if (prompt === undefined) throw new InvalidArgumentError('--prompt', `${settings.model} takes a prompt, got none`);
    return picturesToFile({ ...settings, prompt }, context, recipe);
  }
  if (settings.prompt !== undefined) {
    throw new InvalidArgumentError(
      '--prompt',
      `${settings.model} takes --labels; prompts are for folders of diffusers`,
    );
  }
  return classesToFile(settings, context);
}

/** Samples from a model of classes, or an unconditional one. */
async function classesToFile(settings: SampleSettings, { signal, say, result }: CommandContext): Promise<void> {
  const overwrite = settings.overwrite ?? false;
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
