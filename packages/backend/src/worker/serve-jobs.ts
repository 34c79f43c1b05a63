import { isMainThread, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { InvalidArgumentError } from '@mezzotint/core';
import { type ChosenEngine, useBackend } from '../use-backend.js';
import type { Job, Jobs } from './job.js';
import type { Answer, Request } from './message.js';
import { toPlainError } from './plain-error.js';

/**
 * Makes this thread the owner of an engine that runs these jobs, one after the other, for the `EngineWorker` that
 * started it. Called once by the module that `EngineWorker.start` names.
 *
 * @throws InvalidArgumentError in the main thread
 */
export async function serveJobs(jobs: Jobs): Promise<void> {
  const port = parentPort;
  if (isMainThread || port === null) {
    throw new InvalidArgumentError('serveJobs', 'expected to be called in the thread that EngineWorker.start made');
  }
  const answer = (message: Answer) => port.postMessage(message);
  const running = new Map<number, AbortController>();
  let engine: ChosenEngine;
  let last: Promise<void> = Promise.resolve();

  const serve = async (run: number, name: string, input: unknown, { signal }: AbortController): Promise<void> => {
    try {
      signal.throwIfAborted();
      if (!Object.hasOwn(jobs, name)) {
        throw new InvalidArgumentError(
          'EngineWorker',
          `expected one of ${Object.keys(jobs).join(', ')}, got '${name}'`,
        );
      }
      const report = (value: unknown) => {
        answer({ kind: 'report', run, value });
        takeWaiting(); // A job that never lets the event loop turn learns of an abort here.
      };
      const value = await (jobs[name] as unknown as Job<unknown, unknown, unknown>)(input, { signal, engine, report });
      answer({ kind: 'done', run, value });
    } catch (error) {
      answer({ kind: 'failed', run, error: toPlainError(error) });
    } finally {
      running.delete(run);
    }
  };
  const take = (request: Request) => {
    if (request.kind === 'abort') {
      running.get(request.run)?.abort();
      return;
    }
    const controller = new AbortController();
    running.set(request.run, controller);
    last = last.then(() => serve(request.run, request.job, request.input, controller));
  };
  const takeWaiting = () => {
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      take(next.message as Request);
    }
  };

  try {
    const { name } = (workerData as { engine: { name: string | undefined } }).engine;
    engine = await useBackend({ engine: name });
  } catch (error) {
    answer({ kind: 'absent', error: toPlainError(error) });
    return;
  }
  port.on('message', take);
  answer({ kind: 'ready', engine });
}
