import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkConfig, readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { plotLines, writeFileAtomically, writePng } from '@mezzotint/data';
import { type TrainConfig, trainConfigSchema } from './config.js';

/** One line of `log.jsonl`. */
export interface LogLine {
  readonly step: number;
  /** Mean loss since the line before. */
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** Wall seconds of an update, mean since the line before. */
  readonly seconds: number;
  /** What the task reports at some steps, for example `heldOutAccuracy`. */
  readonly [score: string]: number;
}

/** A run's folder: `config.json`, `log.jsonl`, `loss.png`, `samples/`, `checkpoints/`, and in the end `model/`. */
export class RunFolder {
  readonly samples: string;
  readonly checkpoints: string;
  readonly model: string;
  readonly #log: string;
  #lines: LogLine[] = [];

  private constructor(readonly path: string) {
    this.samples = join(path, 'samples');
    this.checkpoints = join(path, 'checkpoints');
    this.model = join(path, 'model');
    this.#log = join(path, 'log.jsonl');
  }

  /** @throws InvalidArgumentError when something is in the folder */
  static checkEmpty(path: string): void {
    if (existsSync(path) && readdirSync(path).length > 0) {
      throw new InvalidArgumentError(
        path,
        'is not empty: choose another --run, or go on with the run there by --resume',
      );
    }
  }

  /** A new run in an empty folder. */
  static async create(path: string, config: TrainConfig): Promise<RunFolder> {
    RunFolder.checkEmpty(path);
    const run = new RunFolder(path);
    mkdirSync(run.samples, { recursive: true });
    const text = `${JSON.stringify(config, null, 2)}\n`;
    await writeFileAtomically(join(path, 'config.json'), new TextEncoder().encode(text));
    return run;
  }

  /** A run that was begun before, and its configuration; a file given again must say the same, but for `steps`. */
  static resume(path: string, given: TrainConfig | undefined): { run: RunFolder; config: TrainConfig } {
    const file = join(path, 'config.json');
    if (!existsSync(file))
      throw new InvalidArgumentError(path, 'holds no run to resume: expected a config.json of train');
    const config = readConfig(file, trainConfigSchema);
    if (given !== undefined) {
      const changed = Object.keys({ ...config, ...given }).filter((key) => {
        const [a, b] = [config, given].map((c) => JSON.stringify((c as unknown as Record<string, unknown>)[key]));
        return key !== 'steps' && a !== b;
      });
      if (changed.length > 0) {
        throw new InvalidArgumentError(
          path,
          `was begun with another configuration (${changed.join(', ')}): resume without --config, or start another run`,
        );
      }
    }
    const run = new RunFolder(path);
    mkdirSync(run.samples, { recursive: true });
    return {
      run,
      config: given === undefined ? config : checkConfig(file, { ...config, steps: given.steps }, trainConfigSchema),
    };
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

  log(line: LogLine): void {
    this.#lines.push(line);
    appendFileSync(this.#log, `${JSON.stringify(line)}\n`);
  }

  /** Draws `loss.png` from the log. */
  async plot(): Promise<void> {
    if (this.#lines.length === 0) return;
    const x = this.#lines.map((line) => line.step);
    const loss = { name: 'loss', x, y: this.#lines.map((line) => line.loss), smooth: 0.6 };
    const picture = plotLines([loss], { title: 'Training loss', xLabel: 'update', yLabel: 'loss', yScale: 'log' });
    await writePng(join(this.path, 'loss.png'), picture, { overwrite: true });
  }
}
