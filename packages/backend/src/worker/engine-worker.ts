import { Worker } from 'node:worker_threads';
import { MezzotintError } from '@mezzotint/core';
import type { ChosenEngine } from '../use-backend.js';
import type { Input, Jobs, Output, Report } from './job.js';
import type { Answer, Request } from './message.js';
import { fromPlainError } from './plain-error.js';

export interface EngineWorkerOptions {
  /** As for `useBackend`: this engine or an error; when absent MEZZOTINT_BACKEND, else the fastest that loads. */
  readonly engine?: string | undefined;
}

export interface RunOptions<R> {
  /** Aborts the job at its next step; the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after an abort until the whole thread is ended, if the job has not stopped by then. Never when absent. */
  readonly terminateAfter?: number | undefined;
  /** Told how many runs are before this one when that number changes; 0 when it is this one's turn. */
  readonly onPlace?: ((before: number) => void) | undefined;
  /** Called in this thread with each thing that the job reports; what it throws ends the run. */
  readonly onReport?: ((value: R) => void) | undefined;
}

/** A run that has not ended. */
interface Pending {
  /** Tells the run how many are before it. */
  place(before: number): void;
  report(value: unknown): void;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/**
 * A thread that owns an engine, its tensors and its models, and runs jobs, so that the event loop of this thread stays
 * free (progress, Ctrl-C, requests) however long one step takes. Node only.
 *
 * The module that it runs calls `serveJobs(jobs)`; `J` is the type of those jobs.
 */
export class EngineWorker<J extends Jobs> {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #ended: Error | undefined;
  #runs = 0;

  private constructor(
    worker: Worker,
    /** The engine that the thread chose. */
    readonly engine: ChosenEngine,
  ) {
    this.#worker = worker;
    worker.on('message', (message: Answer) => this.#take(message));
    worker.on('error', (error) => this.#end(ended(`failed: ${error.message}`, error)));
    worker.on('exit', () => this.#end(ended('has ended')));
    worker.unref();
  }

  /**
   * Starts a thread on a module, with Node's options of this process, and waits until its engine is loaded.
   *
   * @param module the module that calls `serveJobs`, such as `new URL('./jobs.js', import.meta.url)`
   * @throws MezzotintError as `useBackend` does, or (`MEZZOTINT_WORKER_ENDED`) when the module fails
   */
  static async start<J extends Jobs>(module: URL, options: EngineWorkerOptions = {}): Promise<EngineWorker<J>> {
    const worker = new Worker(module, { workerData: { engine: { name: options.engine } } });
    const answer = await new Promise<Answer>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', (error) => reject(ended(`failed: ${error.message}`, error)));
      worker.once('exit', () => reject(ended('ended before it called serveJobs')));
    });
    for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
    if (answer.kind === 'ready') return new EngineWorker<J>(worker, answer.engine);
    await worker.terminate();
    throw answer.kind === 'absent' ? fromPlainError(answer.error) : ended('said something before it was ready');
  }

  /**
   * Runs a job in the thread, after those that were asked for before.
   *
   * @throws what the job throws, as the same class of Mezzotint's errors with code and facts; the signal's reason when it
   *   is aborted; MezzotintError (`MEZZOTINT_WORKER_ENDED`) when the thread is gone
   */
  run<N extends keyof J & string>(
    job: N,
    input: Input<J[N]>,
    { signal, terminateAfter, onPlace, onReport }: RunOptions<Report<J[N]>> = {},
  ): Promise<Output<J[N]>> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const run = this.#runs++;
    let patience: NodeJS.Timeout | undefined;
    const abort = () => {
      this.#send({ kind: 'abort', run });
      if (terminateAfter === undefined) return;
      patience = setTimeout(() => {
        this.#pending.get(run)?.reject(signal?.reason);
        void this.close();
      }, terminateAfter);
    };
    const settled = new Promise<Output<J[N]>>((resolve, reject) => {
      /** Calls back. The caller's own fault is the run's fault; thrown from here it would end the process. */
      const tell = (callback: () => void) => {
        try {
          callback();
        } catch (error) {
          reject(error);
          this.#send({ kind: 'abort', run });
        }
      };
      this.#pending.set(run, {
        place: (before) => tell(() => onPlace?.(before)),
        report: (value) => tell(() => onReport?.(value as Report<J[N]>)),
        resolve: (value) => resolve(value as Output<J[N]>),
        reject: (error) => reject(signal?.aborted && isAbort(error) ? signal.reason : error),
      });
      this.#worker.ref();
      signal?.addEventListener('abort', abort, { once: true });
      this.#send({ kind: 'run', run, job, input });
      this.#pending.get(run)!.place(this.#pending.size - 1);
    });
    return settled.finally(() => {
      clearTimeout(patience);
      signal?.removeEventListener('abort', abort);
      const behind = [...this.#pending.keys()].indexOf(run);
      this.#pending.delete(run);
      // Runs are in order, so those behind it are one nearer to their turn.
      for (const [before, other] of [...this.#pending.values()].entries()) if (before >= behind) other.place(before);
      if (this.#pending.size === 0) this.#worker.unref();
    });
  }

  /** Ends the thread; a job that still runs is rejected. A native step that has begun is finished first. */
  async close(): Promise<void> {
    this.#end(ended('was closed'));
    await this.#worker.terminate();
  }

  #send(request: Request): void {
    this.#worker.postMessage(request);
  }

  #take(answer: Answer): void {
    if (answer.kind === 'ready' || answer.kind === 'absent') return;
    const run = this.#pending.get(answer.run);
    if (answer.kind === 'report') run?.report(answer.value);
    else if (answer.kind === 'done') run?.resolve(answer.value);
    else run?.reject(fromPlainError(answer.error));
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
  }
}

function ended(how: string, cause?: Error): MezzotintError {
  const code = 'MEZZOTINT_WORKER_ENDED';
  return new MezzotintError(code, `EngineWorker: the thread with the engine ${how}`, {}, cause && { cause });
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
