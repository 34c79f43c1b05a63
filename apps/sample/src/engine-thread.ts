import { EngineWorker } from '@mezzotint/backend/worker';
import type { SampleJobs } from './jobs.js';

/** Does something with an engine in a thread of its own, so that progress moves and Ctrl-C is heard; ends the thread after it. */
export async function withEngineThread(
  engine: string | undefined,
  body: (worker: EngineWorker<SampleJobs>) => Promise<void>,
): Promise<void> {
  const worker = await EngineWorker.start<SampleJobs>(new URL('./jobs.js', import.meta.url), { engine });
  try {
    await body(worker);
  } finally {
    await worker.close();
  }
}
