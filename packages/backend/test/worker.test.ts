import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, InvalidFileError, MezzotintError } from '@mezzotint/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineWorker, serveJobs } from '../src/worker.js';
import type { TestJobs } from './fixtures/worker-jobs.js';

const module = new URL('./fixtures/worker-jobs.ts', import.meta.url);
const start = () => EngineWorker.start<TestJobs>(module, { engine: 'cpu' });
let worker: EngineWorker<TestJobs>;
beforeAll(async () => {
  worker = await start();
});
afterAll(() => worker.close());

test('owns an engine and computes on it', async () => {
  expect(worker.engine).toMatchObject({ name: 'cpu', trains: true });
  expect(await worker.run('square', Float32Array.of(1, 2, 3))).toEqual(Float32Array.of(1, 4, 9));
});

test('reports arrive, and this event loop turns, while the thread is inside a long step', async () => {
  const seen: { step: number; running: boolean }[] = [];
  let running = true;
  let turns = 0;
  const clock = setInterval(() => turns++, 5);
  const run = worker.run(
    'steps',
    { steps: 3, milliseconds: 150 },
    { onReport: (step) => seen.push({ step, running }) },
  );
  await run.finally(() => {
    running = false;
    clearInterval(clock);
  });
  // The thread blocks for 600 ms and yields never: each report was sent before a block of 150 ms, and came during it.
  expect(seen).toEqual([1, 2, 3].map((step) => ({ step, running: true })));
  expect(turns).toBeGreaterThan(10); // 120 on an idle machine; in one thread there would be none.
});

test('what onReport throws rejects its run, stops the job, and no more', async () => {
  const onReport = (step: number) => {
    if (step === 2) throw new RangeError('no such bar');
  };
  await expect(worker.run('steps', { steps: 1000, milliseconds: 20 }, { onReport })).rejects.toThrow('no such bar');
  // The thread takes the next job long before the 20 s of the stopped one.
  expect(await worker.run('square', Float32Array.of(3))).toEqual(Float32Array.of(9));
}, 10_000);

test('a run is told how many are before it, until it is its turn', async () => {
  const places: Record<string, number[]> = { a: [], b: [], c: [] };
  const stop = new AbortController();
  const runs = Object.entries(places).map(([name, seen]) =>
    worker.run(
      'steps',
      { steps: name === 'a' ? 1000 : 1, milliseconds: 10 },
      { onPlace: (before) => seen.push(before), ...(name === 'a' && { signal: stop.signal }) },
    ),
  );
  stop.abort(new Error('enough'));
  await expect(runs[0]).rejects.toThrow('enough');
  await Promise.all(runs.slice(1));
  expect(places).toEqual({ a: [0], b: [1, 0], c: [2, 1, 0] });
});

describe('abort', () => {
  test('stops between two steps of a job that never yields', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const run = worker.run(
      'steps',
      { steps: 1000, milliseconds: 20 },
      {
        signal: controller.signal,
        onReport(step) {
          seen.push(step);
          controller.abort();
        },
      },
    );
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen.length).toBeLessThan(500); // Not run to the end: 20 s.
    expect(await worker.run('square', Float32Array.of(2))).toEqual(Float32Array.of(4)); // The thread lives.
  });

  test('before the start and while waiting in the queue', async () => {
    await expect(worker.run('square', Float32Array.of(1), { signal: AbortSignal.abort('why') })).rejects.toBe('why');
    const controller = new AbortController();
    const first = worker.run('steps', { steps: 2, milliseconds: 30 });
    const second = worker.run('square', Float32Array.of(1), { signal: controller.signal });
    controller.abort('changed my mind');
    await expect(second).rejects.toBe('changed my mind');
    expect(await first).toBe(2);
  });

  test('a job that does not stop costs the thread', async () => {
    const other = await start();
    const run = other.run('stubborn', undefined as never, { signal: AbortSignal.timeout(20), terminateAfter: 50 });
    await expect(run).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(other.run('square', Float32Array.of(1))).rejects.toMatchObject({ code: 'MEZZOTINT_WORKER_ENDED' });
  });
});

describe('errors', () => {
  test('cross with class, message, code, facts and the stack of the thread', async () => {
    const error = await worker.run('fail', 'argument').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(InvalidArgumentError);
    expect(InvalidArgumentError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({
      name: 'InvalidArgumentError',
      message: new InvalidArgumentError('job', ['first problem', 'second problem']).message,
      problems: ['first problem', 'second problem'],
      facts: { who: 'job', problems: ['first problem', 'second problem'] },
    });
    expect((error as Error).stack).toContain('worker-jobs.ts');
    const file = await worker.run('fail', 'file').catch((e: unknown) => e);
    expect(InvalidFileError.isInstance(file) && [file.file, file.problem]).toEqual(['a.bin', 'is too short']);
  });

  test('of the system keep code and path; faults stay faults; what cannot cross is said', async () => {
    await expect(worker.run('fail', 'system')).rejects.toMatchObject({ code: 'ENOENT', path: '/nowhere' });
    const fault = await worker.run('fail', 'fault').catch((e: unknown) => e);
    expect(fault).toMatchObject({ name: 'TypeError', message: 'a fault' });
    expect(MezzotintError.isInstance(fault)).toBe(false);
    await expect(worker.run('fail', 'result')).rejects.toThrow(/could not be cloned/);
    await expect(worker.run('nothing' as 'fail', 'fault')).rejects.toThrow(/expected one of square, .* got 'nothing'/);
  });

  test('of the start: an engine that does not exist, a module that does not, one that serves nothing', async () => {
    await expect(EngineWorker.start(module, { engine: 'abacus' })).rejects.toThrow(InvalidArgumentError);
    await expect(EngineWorker.start(new URL('./nowhere.js', import.meta.url))).rejects.toThrow(/nowhere\.js/);
    const silent = new URL('data:text/javascript,');
    await expect(EngineWorker.start(silent)).rejects.toThrow(/ended before it called serveJobs/);
    await expect(serveJobs({})).rejects.toThrow(/thread that EngineWorker.start made/);
  });

  test('a thread that ends rejects what it was asked for', async () => {
    const other = await start();
    const waiting = other.run('steps', { steps: 1, milliseconds: 10 });
    const fatal = other.run('exit', undefined as never);
    expect(await waiting).toBe(1);
    await expect(fatal).rejects.toMatchObject({ code: 'MEZZOTINT_WORKER_ENDED' });
    const closed = await start();
    const running = closed.run('stubborn', undefined as never);
    await sleep(5);
    await Promise.all([closed.close(), expect(running).rejects.toThrow(/was closed/)]);
  });
});
