import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { startProgress } from '@mezzotint/app';
import { Contestant, type Introduction } from '../contestant.js';
import { medianRatio, relativeError, type Timing, timing } from '../statistics.js';
import { forget, recall } from './page-cache.js';

/** A process to be started. */
export interface Entry {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly answerFile: string;
  /** Bytes that it is expected to take. */
  readonly bytes: number;
}

/** One contestant's figures. */
export interface CheckpointRow {
  readonly contestant: string;
  readonly version: string;
  readonly loadSeconds: number;
  /** The first step, in which programs are compiled and weights take their final form. */
  readonly firstSeconds: number;
  /** Milliseconds of the counted steps; null where only the first was made. */
  readonly steps: Timing | null;
  /** Median of time / the first contestant's time, step by step (of the first step where no other was made). */
  readonly ratio: number;
  readonly loadedMegabytes: number;
  readonly peakMegabytes: number;
  /** Root mean square of the difference of its last answer to the first contestant's, relative; null for that one. */
  readonly error: number | null;
}

export interface Measured {
  /** Whether contestants took turns, or ran one after another because memory does not hold all of them. */
  readonly interleaved: boolean;
  readonly rows: readonly CheckpointRow[];
  readonly absent: readonly { readonly contestant: string; readonly reason: string }[];
}

interface Options {
  readonly runs: number;
  readonly cold: boolean;
  readonly weightFile: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

interface Running {
  readonly entry: Entry;
  readonly contestant: Contestant;
  readonly introduction: Introduction;
  readonly load: { readonly milliseconds: number; readonly peakBytes: number };
  readonly times: number[];
  peakBytes: number;
}

/** Loads, makes a first step and `runs` more with each contestant. */
export async function measureCheckpoint(what: string, entries: readonly Entry[], options: Options): Promise<Measured> {
  const interleaved = entries.reduce((sum, { bytes }) => sum + bytes, 0) < freemem();
  const groups = interleaved ? [entries] : entries.map((entry) => [entry]);
  const progress = startProgress(`Timing ${what}`, entries.length * (options.runs + 2));
  const done: Running[] = [];
  const absent: Measured['absent'][number][] = [];
  let count = 0;
  const tick = (note: string) => progress.update(++count, undefined, note);
  try {
    for (const group of groups) {
      const running: Running[] = [];
      try {
        for (const entry of group) {
          const started = await start(entry, options);
          if ('reason' in started) absent.push(started);
          else running.push(started);
          tick(`${entry.name} loaded`);
        }
        for (let round = 0; round <= options.runs; round++) {
          for (const one of running) {
            options.signal.throwIfAborted();
            const { milliseconds, peakBytes } = await one.contestant.run('step');
            one.times.push(milliseconds);
            one.peakBytes = peakBytes;
            tick(one.introduction.name);
          }
        }
        for (const { contestant } of running) await contestant.run('answer');
        done.push(...running);
      } finally {
        for (const { contestant } of running) contestant.stop();
      }
    }
  } finally {
    progress.stop();
  }
  return { interleaved, rows: done.map((one) => rowOf(one, done[0]!)), absent };
}

async function start(
  entry: Entry,
  { cold, weightFile, env, signal }: Options,
): Promise<Running | { contestant: string; reason: string }> {
  signal.throwIfAborted();
  const started = await Contestant.start(entry.program, entry.args, env);
  if (typeof started === 'string') return { contestant: entry.name, reason: started };
  try {
    await (cold ? forget(weightFile) : recall(weightFile, signal));
    const load = await started.contestant.run('load');
    return { entry, ...started, load, times: [], peakBytes: load.peakBytes };
  } catch (error) {
    started.contestant.stop();
    throw error;
  }
}

function rowOf({ entry, introduction, load, times, peakBytes }: Running, base: Running): CheckpointRow {
  const [first, ...steps] = times as [number, ...number[]];
  const isBase = entry === base.entry;
  return {
    contestant: introduction.name,
    version: introduction.version,
    loadSeconds: load.milliseconds / 1000,
    firstSeconds: first / 1000,
    steps: steps.length === 0 ? null : timing(steps),
    ratio: steps.length === 0 ? first / base.times[0]! : medianRatio(steps, base.times.slice(1)),
    loadedMegabytes: Math.round(load.peakBytes / 2 ** 20),
    peakMegabytes: Math.round(peakBytes / 2 ** 20),
    error: isBase ? null : relativeError(floats(entry.answerFile), floats(base.entry.answerFile)),
  };
}

function floats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
