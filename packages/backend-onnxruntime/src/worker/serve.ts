import { parentPort } from 'node:worker_threads';
import { MezzotintError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { register } from '../register.js';
import type { Request, Response, WorkerContext } from './protocol.js';

type Served = (argument: unknown, context: WorkerContext) => unknown;

/** Runs in the worker: imports the caller's module and answers calls of its functions. */
export async function serveEngine(moduleUrl: string): Promise<void> {
  const port = parentPort!;
  register();
  await tf.setBackend('onnxruntime');
  const functions = (await import(moduleUrl)) as Readonly<Record<string, Served | undefined>>;
  const aborts = new Map<number, AbortController>();
  const pulls = new Map<number, () => void>();
  // Copied, not moved: an array that was read from a tensor may be the engine's own memory.
  const answer = (response: Response): void => port.postMessage(response);

  async function run(id: number, name: string, argument: unknown): Promise<void> {
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      const served = functions[name];
      if (typeof served !== 'function') {
        throw new MezzotintError(
          'MEZZOTINT_NO_FUNCTION',
          `${moduleUrl}: expected an exported function ${name}, found none.`,
        );
      }
      const made = await served(argument, { signal: abort.signal });
      if (!isStream(made)) {
        answer({ kind: 'result', id, value: made });
        return;
      }
      for await (const value of made) {
        const pulled = new Promise<void>((resolve) => pulls.set(id, resolve));
        answer({ kind: 'item', id, value });
        await pulled;
        if (abort.signal.aborted) break;
      }
      answer({ kind: 'result', id, value: undefined });
    } catch (error) {
      answer({ kind: 'failure', id, error: error instanceof Error ? error : new Error(String(error)) });
    } finally {
      aborts.delete(id);
      pulls.delete(id);
    }
  }

  port.on('message', (request: Request) => {
    const { id } = request;
    if (request.kind === 'call') void run(id, request.name, request.argument);
    else if (request.kind === 'next') pulls.get(id)?.();
    else {
      aborts.get(id)?.abort();
      pulls.get(id)?.();
    }
  });
}

function isStream(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
