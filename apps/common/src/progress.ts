import { Presets, SingleBar } from 'cli-progress';

/** Progress of a long job on standard error, with the time that is left. */
export interface Progress {
  /** `done` of `total` (as at the start when absent), and a word on the state (a loss, a file). */
  update(done: number, total?: number, note?: string): void;
  stop(): void;
}

/** A bar on a terminal; a line now and then where standard error is a file or a pipe. */
export function startProgress(what: string, total: number, done = 0): Progress {
  const bar = new SingleBar(
    {
      stream: process.stderr,
      format: `${what} {bar} {value}/{total} · {duration_formatted} · {eta_formatted} left {note}`,
      hideCursor: true,
      etaBuffer: 50,
      noTTYOutput: true,
      notTTYSchedule: 10_000,
    },
    Presets.shades_classic,
  );
  bar.start(total, done, { note: '' });
  return {
    update(value, of, note = '') {
      if (of !== undefined) bar.setTotal(of);
      bar.update(value, { note: note === '' ? '' : `· ${note}` });
    },
    stop: () => bar.stop(),
  };
}
