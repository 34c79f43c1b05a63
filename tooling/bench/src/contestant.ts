import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';

/** What a contestant says when it is ready. */
export interface Introduction {
  readonly name: string;
  readonly version: string;
  /** The jobs that it can run. */
  readonly jobs: readonly string[];
  /** Of a contestant whose weights are in fewer bits: their bytes, and the output's relative error in the 2-norm. */
  readonly narrowed?: { readonly bytesBefore: number; readonly bytesAfter: number; readonly error: number };
}

/**
 * An engine or a peer in a process of its own, which runs one job at a time when asked: a job's name in, a line
 * `{"milliseconds": …, "peakBytes": …}` out. So contestants can be interleaved without sharing memory or threads.
 */
export class Contestant {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  #errors = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#reader = createInterface({ input: child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
    child.stderr!.on('data', (chunk: Buffer) => {
      this.#errors = `${this.#errors}${chunk}`.slice(-4000);
    });
  }

  /** Starts a process and waits until it is ready; a string says why it is not there. */
  static async start(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<{ contestant: Contestant; introduction: Introduction } | string> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const failed = once(child, 'error').then(([error]: unknown[]) => (error as Error).message);
    const contestant = new Contestant(child);
    const first = await Promise.race([contestant.#read(), failed]);
    if (typeof first === 'string') return first;
    if ('unavailable' in first) {
      contestant.stop();
      return String(first.unavailable);
    }
    return { contestant, introduction: first as unknown as Introduction };
  }

  /** Runs a job once. */
  async run(job: string): Promise<{ milliseconds: number; peakBytes: number }> {
    this.#child.stdin!.write(`${job}\n`);
    const answer = await this.#read();
    if (typeof answer === 'string' || typeof answer.milliseconds !== 'number') {
      throw new Error(`job '${job}' failed: ${typeof answer === 'string' ? answer : JSON.stringify(answer)}`);
    }
    return answer as { milliseconds: number; peakBytes: number };
  }

  stop(): void {
    this.#reader.close();
    this.#child.kill();
  }

  /** The next line of JSON; other lines (an engine's banner) are passed over. A string when the process ended. */
  async #read(): Promise<Record<string, unknown> | string> {
    for (;;) {
      const { done, value } = await this.#lines.next();
      if (done) return `ended: ${this.#errors.trim().split('\n').at(-1) ?? ''}`;
      if (value.startsWith('{')) return JSON.parse(value) as Record<string, unknown>;
    }
  }
}
