import { resolve } from 'node:path';
import { type CommandContext, type Progress, startProgress } from '@mezzotint/app';
import type { EngineWorker } from '@mezzotint/backend/worker';
import { imageGrid, writePng } from '@mezzotint/data';
import { withEngineThread } from '../engine-thread.js';
import type { SampleJobs } from '../jobs.js';
import type { PictureOrder } from './make-pictures.js';
import { RECIPE_KEY, type Recipe } from './recipe.js';
import { checkFlags, type PromptSettings } from './recipe-of.js';
import type { Stage, StageReport } from './stages.js';

/** Makes pictures of a prompt, writes them into one PNG with their recipe, and says where it is. */
export async function picturesToFile(
  settings: PromptSettings,
  context: CommandContext,
  replayed?: Recipe,
): Promise<void> {
  checkFlags(settings);
  await withEngineThread(settings.engine, (worker) => makeIn(worker, { settings, replayed }, context));
}

async function makeIn(
  worker: EngineWorker<SampleJobs>,
  order: PictureOrder,
  { signal, say, result }: CommandContext,
): Promise<void> {
  const { engine } = worker;
  const { out, overwrite = false } = order.settings;
  const progress = stageProgress();
  const { images, recipe, taken, seconds } = await worker
    .run('makePictures', order, { signal, onReport: progress.update })
    .finally(progress.stop);
  const { count, height, width, columns, scale } = recipe;
  const grid = imageGrid(
    { images, count, height, width, channels: 3 },
    { columns, scale, padding: count === 1 ? 0 : 2 },
  );
  signal.throwIfAborted();
  await writePng(out, grid, { overwrite, text: { [RECIPE_KEY]: JSON.stringify(recipe) } });
  if (taken !== null) say(`Model: ${taken}`);
  say(`${count} picture${count === 1 ? '' : 's'} in ${seconds.toFixed(1)} s`);
  say(`Engine: ${engine.name} ${engine.version} (${engine.device})`);
  say(`Picture: ${resolve(out)}`);
  result({ file: resolve(out), seconds, ...recipe });
}

/** A bar for each stage, one after the other: each has its own pace, and so its own estimate. */
function stageProgress(): { update(report: StageReport): void; stop(): void } {
  let now: { readonly stage: Stage; readonly bar: Progress } | undefined;
  return {
    update({ stage, done, total }) {
      if (now?.stage !== stage) {
        now?.bar.stop();
        now = { stage, bar: startProgress(stage.padEnd('Encoding'.length), total) };
      }
      now.bar.update(done, total);
    },
    stop: () => now?.bar.stop(),
  };
}
