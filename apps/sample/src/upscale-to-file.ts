import { resolve } from 'node:path';
import { type CommandContext, prepareOutput, startProgress } from '@mezzotint/app/terminal';
import { EngineWorker } from '@mezzotint/backend/worker';
import { InvalidArgumentError } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { RECIPE_KEY } from '@mezzotint/pipelines';
import type { SampleJobs } from './jobs.js';
import type { SampleSettings } from './settings.js';
import { isFolder } from './write-pictures.js';

/** Enlarges the picture of `--upscale` as the flags say, writes it, and says how much memory it took. */
export async function upscaleToFile(
  { app, options, request, replayed, notes }: SampleSettings,
  { signal, say, result }: CommandContext,
): Promise<void> {
  const { model, out, upscale: picture, tile, overlap, overwrite = false } = app;
  if (isFolder(out)) throw new InvalidArgumentError('--out', `expected a .png for an enlarged picture, got ${out}`);
  prepareOutput(out, overwrite);
  const worker = await EngineWorker.start<SampleJobs>(new URL('./jobs.js', import.meta.url), { engine: app.engine });
  const bar = startProgress('Tiles   ', 1);
  try {
    const order = { model, options, request, replayed, picture: picture!, tile, overlap };
    const made = await worker
      .run('upscalePicture', order, { signal, onReport: ({ done, total }) => bar.update(done, total) })
      .finally(() => bar.stop());
    signal.throwIfAborted();
    await writePng(out, made.picture, { overwrite, text: { [RECIPE_KEY]: JSON.stringify(made.recipe) } });
    const { height, width } = made.picture;
    const peak = Math.round(made.peakMemory / 2 ** 20);
    for (const note of [...notes, ...made.notes]) process.stderr.write(`Note: ${note}\n`);
    say(`Model: ${made.description}`);
    say(
      `${width} x ${height} pixels in ${made.seconds.toFixed(1)} s, ${made.tiles} tile${made.tiles === 1 ? '' : 's'}; at most ${peak} MiB`,
    );
    say(`Engine: ${worker.engine.name} ${worker.engine.version} (${worker.engine.device})`);
    say(`Picture: ${resolve(out)}`);
    const { seconds, tiles, peakMemory } = made;
    result({ file: resolve(out), height, width, seconds, tiles, peakMemory });
  } finally {
    await worker.close();
  }
}
