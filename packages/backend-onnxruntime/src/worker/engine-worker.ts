import { Worker, type WorkerOptions } from 'node:worker_threads';
import { MezzotintError } from '@mezzotint/core';
import { type Request, type Response, transferable } from './protocol.js';

export { serveEngine } from './serve.js';

interface Waiting {
  readonly settle: (response: Response) => void;
  readonly fail: (error: Error) => void;
}

/** Options of one call. */
export interface CallOptions {
  /** Reaches the function in the worker as `context.signal`. */
  readonly signal?: AbortSignal;
}

/**
 * A thread that owns the engine, so that the caller's event loop stays free while a step runs: progress is drawn and
 * Ctrl-C works. It imports a module of the caller's, in which the backend `onnxruntime` is active, and calls its exported
 * functions `(argument, { signal }) => result`. Arguments and results are structured-cloned; no tensor crosses.
 */
export class EngineWorker {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #ids = 0;
  #ended: Error | undefined;

  /** `module` is an absolute `file:` URL; `execArgv` as in `Worker` (loaders of TypeScript, conditions). */
  constructor(module: URL, { execArgv }: Pick<WorkerOptions, 'execArgv'> = {}) {
    const start = `import { serveEngine } from ${JSON.stringify(import.meta.url)}; await serveEngine(${JSON.stringify(module.href)});`;
    const entry = new URL(`data:text/javascript,${encodeURIComponent(start)}`);
    this.#worker = new Worker(entry, execArgv === undefined ? {} : { execArgv });
    this.#worker.on('message', (response: Response) => this.#waiting.get(response.id)?.settle(response));
    this.#worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on('exit', (code) => {
      this.#end(new MezzotintError('MEZZOTINT_WORKER_ENDED', `The engine's worker has ended (exit code ${code}).`));
    });
    this.#worker.unref();
  }

  /** Calls an exported function. Typed arrays in `argument` that fill their buffers move to the worker. */
  async call<R>(name: string, argument?: unknown, { signal }: CallOptions = {}): Promise<R> {
    const id = this.#ids++;
    try {
      const response = await this.#ask({ kind: 'call', id, name, argument }, signal);
      return (response as { value: R }).value;
    } finally {
      this.#forget(id);
    }
  }

  /** Calls an exported async generator and gives its items one by one; it goes on when the caller asks for the next. */
  async *stream<T>(name: string, argument?: unknown, { signal }: CallOptions = {}): AsyncGenerator<T, void, undefined> {
    const id = this.#ids++;
    let running = true;
    try {
      let response = await this.#ask({ kind: 'call', id, name, argument }, signal);
      while (response.kind === 'item') {
        yield response.value as T;
        response = await this.#ask({ kind: 'next', id }, signal);
      }
      running = false;
    } finally {
      if (running && this.#ended === undefined) this.#send({ kind: 'abort', id });
      this.#forget(id);
    }
  }

  /** Ends the thread; calls under way fail. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(request: Request, signal: AbortSignal | undefined): Promise<Response> {
    const { id } = request;
    return new Promise<Response>((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      const abort = (): void => this.#send({ kind: 'abort', id });
      const done = (): void => {
        signal?.removeEventListener('abort', abort);
        // Only what is under way keeps the process alive.
        this.#waiting.delete(id);
        if (this.#waiting.size === 0) this.#worker.unref();
      };
      this.#waiting.set(id, {
        settle: (response) => {
          done();
          if (response.kind === 'failure') reject(response.error);
          else resolve(response);
        },
        fail: (error) => {
          done();
          reject(error);
        },
      });
      this.#worker.ref();
      this.#send(request);
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) abort();
    });
  }

  #send(request: Request): void {
    const moved = request.kind === 'call' ? [...transferable(request.argument)] : [];
    this.#worker.postMessage(request, moved);
  }

  #forget(id: number): void {
    this.#waiting.delete(id);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { fail } of [...this.#waiting.values()]) fail(this.#ended);
  }
}
