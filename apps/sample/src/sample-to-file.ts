import { type Progress as Bar, type CommandContext, startProgress } from '@mezzotint/app/terminal';
import { EngineWorker } from '@mezzotint/backend/worker';
import type { Progress } from '@mezzotint/pipelines';
import type { SampleFlags } from './command.js';
import { explainModel } from './explain/explain-model.js';
import type { SampleJobs } from './jobs.js';
import { settingsOf } from './settings.js';
import { upscaleToFile } from './upscale-to-file.js';
import { isFolder, prepareOut, writePicture } from './write-pictures.js';

/** Makes pictures as the flags say, writes them with their recipe and says where they are. */
export async function sampleToFile(flags: SampleFlags, context: CommandContext): Promise<void> {
  const settings = await settingsOf(flags);
  const { app, options, request, replayed, shard } = settings;
  if (flags.explain) return explainModel(settings, context);
  if (app.upscale !== undefined) return upscaleToFile(settings, context);
  prepareOut(settings);
  const { signal, say, result } = context;
  const progress = phaseBars();
  const worker = await EngineWorker.start<SampleJobs>(new URL('./jobs.js', import.meta.url), { engine: app.engine });
  try {
    const { model, preview, out, overwrite = false } = app;
    const folder = isFolder(out) ? { path: out, overwrite } : undefined;
    const order = { model, options, request, replayed, shard, preview, folder };
    const made = await worker.run('makePictures', order, { signal, onReport: progress.update }).finally(progress.stop);
    signal.throwIfAborted();
    const files = folder === undefined ? [await writePicture(made, settings)] : made.files;
    const { engine } = worker;
    const { seconds, firstSeconds, recipe } = made;
    const count = folder === undefined ? made.images.length : files.length;
    for (const note of [...settings.notes, ...made.notes]) process.stderr.write(`Note: ${note}\n`);
    say(`Model: ${made.description}`);
    const first = count === 1 ? '' : ` (first after ${firstSeconds.toFixed(1)} s)`;
    say(`${count} picture${count === 1 ? '' : 's'} in ${seconds.toFixed(1)} s${first}`);
    say(`Engine: ${engine.name} ${engine.version} (${engine.device})`);
    for (const file of files) say(`Picture: ${file}`);
    result({ ...recipe, ...(files.length === 1 ? { file: files[0] } : { files }), seconds, firstSeconds });
  } finally {
    await worker.close();
  }
}

const WORDS: Readonly<Record<Progress['phase'], string>> = {
  loading: 'Loading ',
  encoding: 'Encoding',
  sampling: 'Sampling',
  decoding: 'Decoding',
};

/** A bar for each phase, one after the other: each has its own pace, and so its own estimate. Decoding is a word on sampling. */
function phaseBars(): { update(report: Progress): void; stop(): void } {
  let now: { readonly name: string; readonly bar: Bar } | undefined;
  return {
    update({ phase, stage, done, total }) {
      if (phase === 'decoding') return now?.bar.update(total, total, `decoding ${done}/${total}`);
      const name = `${stage} ${phase}`;
      if (now?.name !== name) {
        now?.bar.stop();
        now = { name, bar: startProgress(WORDS[phase], total) };
      }
      now.bar.update(done, total);
    },
    stop: () => now?.bar.stop(),
  };
}
