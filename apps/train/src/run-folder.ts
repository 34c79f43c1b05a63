import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkConfig, readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { writeFileAtomically, writePng } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import type { Average } from '@mezzotint/training';
import { CheckpointFolder, type FolderLock, lockFolder, writeSnapshot } from '@mezzotint/training/node';
import { type ConfigFlags, type TrainConfig, trainConfigSchema } from './config.js';

/** One line of `log.jsonl`. */
export interface LogLine {
  readonly step: number;
  /** Mean loss since the line before. */
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** Wall seconds of an update, mean since the line before. */
  readonly seconds: number;
  /** Fraction of them that was spent waiting for pictures. */
  readonly waited?: number;
  /** Mean loss of held-out pictures, with averaged weights. */
  readonly validationLoss?: number;
  /** What the task reports at some steps, for example `heldOutAccuracy`. */
  readonly [score: string]: number | undefined;
}

/** A run's folder: `config.json`, `log.jsonl`, `loss.png`, `samples/`, `checkpoints/`, and in the end `model/`. */
export class RunFolder {
  readonly samples: string;
  readonly checkpoints: string;
  readonly model: string;
  readonly #log: string;
  readonly #lock: FolderLock;
  #lines: LogLine[] = [];

  /** Takes the folder, sweeps what killed processes left, and keeps other processes out until `close`. */
  private constructor(readonly path: string) {
    this.#lock = lockFolder(path);
    this.samples = join(path, 'samples');
    this.checkpoints = join(path, 'checkpoints');
    this.model = join(path, 'model');
    this.#log = join(path, 'log.jsonl');
    sweep(path);
    mkdirSync(this.samples, { recursive: true });
    sweep(this.samples);
    sweep(this.model);
  }

  /** @throws InvalidArgumentError when something is in the folder that a new run would mix with */
  static checkEmpty(path: string): void {
    if (!existsSync(path) || readdirSync(path).every((name) => name === '.lock')) return;
    if (isUnbegun(path)) return;
    throw new InvalidArgumentError(path, 'is not empty: choose another --run, or go on with the run there by --resume');
  }

  /** A new run in an empty folder, or in one where a run failed before it had anything to keep. */
  static async create(path: string, config: TrainConfig): Promise<RunFolder> {
    RunFolder.checkEmpty(path);
    const run = new RunFolder(path);
    await run.#writeConfig(config);
    return run;
  }

  /** Lets other processes write here. */
  close(): void {
    this.#lock.release();
  }

  /** The configuration from which the next resume goes on, with the number of updates that was asked for last. */
  async #writeConfig(config: TrainConfig): Promise<void> {
    const text = `${JSON.stringify(config, null, 2)}\n`;
    await writeFileAtomically(join(this.path, 'config.json'), new TextEncoder().encode(text), { overwrite: true });
  }

  /**
   * The configuration of a run that was begun before, with what was given again: `steps` may be another number and is then
   * kept, everything else that was given must be the same. What was not given, such as what a recipe filled in, stays as the run has it.
   *
   * @param fits whether the run may have a smaller batch size than was given, one that fits its pictures
   */
  static async resumed(
    path: string,
    given: TrainConfig | undefined,
    flags: ConfigFlags,
    fits = false,
  ): Promise<TrainConfig> {
    const file = join(path, 'config.json');
    if (!existsSync(file))
      throw new InvalidArgumentError(path, 'holds no run to resume: expected a config.json of train');
    const config = readConfig(file, trainConfigSchema);
    const smaller = fits && given !== undefined && config.batchSize < given.batchSize;
    const asked = {
      ...{ ...config, ...given, ema: { ...config.ema, ...given?.ema } },
      ...(smaller && { batchSize: config.batchSize }),
      ...flags,
    };
    const value = (of: object, key: string) => JSON.stringify((of as Record<string, unknown>)[key]);
    const free = ['steps', 'microBatches', 'distributed']; // of which only steps changes what is trained
    const changed = Object.keys(asked).filter((key) => !free.includes(key) && value(config, key) !== value(asked, key));
    if (changed.length > 0) {
      const named = changed.map((key) => `${key}: ${value(config, key)}, now ${value(asked, key)}`);
      const hint = 'resume without --config and without these flags, or start another run';
      throw new InvalidArgumentError(path, `was begun with another configuration (${named.join('; ')}): ${hint}`);
    }
    const { steps } = asked;
    const reached = steps < config.steps ? await new CheckpointFolder(join(path, 'checkpoints')).latest() : undefined;
    if (reached !== undefined && steps < reached.step) {
      const what = flags.steps === undefined ? 'steps' : '--steps';
      throw new InvalidArgumentError(what, `the run stands at update ${reached.step} already, got ${steps}`);
    }
    const distributed = { ...config.distributed, ...given?.distributed, ...flags.distributed };
    return checkConfig(file, { ...config, steps, distributed }, trainConfigSchema);
  }

  /** Opens the folder of a run that was begun before, and keeps its configuration. */
  static async resume(path: string, config: TrainConfig): Promise<RunFolder> {
    const run = new RunFolder(path);
    await run.#writeConfig(config);
    return run;
  }

  /** Takes the log up to a step back in; what a killed run wrote after its last checkpoint is written anew. */
  async rewind(step: number): Promise<void> {
    const text = existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : '';
    this.#lines = text.split('\n').flatMap((line) => {
      try {
        const entry = JSON.parse(line) as LogLine;
        return entry.step <= step ? [entry] : [];
      } catch {
        return []; // The line that was being written when the process was killed.
      }
    });
    const kept = this.#lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFileAtomically(this.#log, new TextEncoder().encode(kept), { overwrite: true });
  }

  /** Everything that was logged. */
  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** Stores the power function averages after so many images in `snapshots/`, for post-hoc EMA. */
  async snapshot(
    images: number,
    averages: Readonly<Record<string, Average>>,
    widths: readonly number[],
  ): Promise<void> {
    const folder = join(this.path, 'snapshots');
    for (const sigmaRel of widths) {
      await writeSnapshot(folder, { sigmaRel, time: images }, await averages[`power-${sigmaRel}`]!.save());
    }
  }

  log(line: LogLine): void {
    this.#lines.push(line);
    appendFileSync(this.#log, `${JSON.stringify(line)}\n`);
  }

  /** Draws `loss.png` (with the loss of held-out pictures) and `rate.png`, and writes `log.csv`, from the log. */
  async plot(): Promise<void> {
    if (this.#lines.length === 0) return;
    const series = (name: string, label: string, smooth: number) => {
      const lines = this.#lines.filter((line) => Number.isFinite(line[name]));
      return { name: label, x: lines.map(({ step }) => step), y: lines.map((line) => line[name]!), smooth };
    };
    const scored = this.#lines.some(({ validationLoss }) => validationLoss !== undefined);
    const losses = [series('loss', 'loss', 0.6), ...(scored ? [series('validationLoss', 'held out', 0)] : [])];
    const positive = losses.every(({ y }) => y.every((value) => value > 0)); // EDM2's may be below 0
    const loss = { title: 'Loss', xLabel: 'update', yLabel: 'loss', ...(positive && { yScale: 'log' as const }) };
    await writePng(join(this.path, 'loss.png'), plotLines(losses, loss), { overwrite: true });
    const rates = [series('learningRate', 'learning rate', 0), series('gradientNorm', 'gradient norm', 0.6)];
    const visible = rates.filter(({ y }) => y.every((value) => value > 0));
    if (visible.length > 0) {
      const rate = { title: 'Rate and gradient', xLabel: 'update', yLabel: '', yScale: 'log' as const };
      await writePng(join(this.path, 'rate.png'), plotLines(visible, rate), { overwrite: true });
    }
    const columns = [...new Set(this.#lines.flatMap((line) => Object.keys(line)))];
    const rows = this.#lines.map((line) => columns.map((column) => line[column] ?? '').join(','));
    const csv = `${[columns.join(','), ...rows].join('\n')}\n`;
    await writeFileAtomically(join(this.path, 'log.csv'), new TextEncoder().encode(csv), { overwrite: true });
  }
}

/** What a run makes in its folder; a folder with anything else belongs to the user. */
const OWN = ['config.json', 'samples', 'checkpoints', 'log.jsonl', 'log.csv', 'loss.png', 'rate.png', '.lock'];

/** True for the folder of a run that failed, or was killed, before its first checkpoint: there is nothing to go on from. */
function isUnbegun(path: string): boolean {
  const names = readdirSync(path).filter((name) => !isLeftover(name));
  if (!names.includes('config.json') || !names.every((name) => OWN.includes(name))) return false;
  const checkpoints = join(path, 'checkpoints');
  return !existsSync(checkpoints) || readdirSync(checkpoints).every((name) => name === '.lock');
}

/** A file that was being written when its process was killed. */
function isLeftover(name: string): boolean {
  return /^\.[\w.-]+\.[0-9a-f]{12}\.(?:tmp|partial)$/.test(name);
}

function sweep(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder).filter(isLeftover)) rmSync(join(folder, name), { force: true });
}
