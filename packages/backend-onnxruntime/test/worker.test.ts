import { EngineWorker } from '@mezzotint/backend-onnxruntime';
import { afterAll, beforeAll, expect, test } from 'vitest';

// The sources are TypeScript here; an installed package needs no loader.
const typescript = [
  '--import',
  new URL('./worker/typescript.mjs', import.meta.url).href,
  '--conditions=@mezzotint/source',
];

let engine: EngineWorker;

beforeAll(() => {
  engine = new EngineWorker(new URL('./worker/steps.ts', import.meta.url), {
    execArgv: typescript,
  });
});

afterAll(() => engine.close());

test('calls a function on the engine', async () => {
  const { backend, values } = await engine.call<{ backend: string; values: Float32Array }>('square', {
    values: new Float32Array([1, 2, 3]),
  });
  expect(backend).toBe('onnxruntime');
  expect([...values]).toEqual([1, 4, 9]);
});

test('streams items as they are asked for, and stops when the caller leaves', async () => {
  const seen: number[] = [];
  for await (const value of engine.stream<number>('halves', 8)) {
    seen.push(value);
    if (seen.length === 4) break;
  }
  expect(seen).toEqual([4, 2, 1, 0.5]);
});

test('an abort signal reaches the function', async () => {
  const abort = new AbortController();
  const seen: number[] = [];
  for await (const value of engine.stream<number>('halves', 8, { signal: abort.signal })) {
    seen.push(value);
    if (seen.length === 3) abort.abort();
  }
  expect(seen.length).toBeLessThanOrEqual(4);
});

test('the event loop stays free while the engine works', async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 20);
  const milliseconds = await engine.call<number>('heavy');
  clearInterval(timer);
  // Free: a tick every 20 ms. A machine that is busy with other tests may give a quarter of them; a blocked loop, none.
  expect(ticks).toBeGreaterThan(milliseconds / 20 / 4);
});

test('errors come back, and the worker goes on', async () => {
  await expect(engine.call('fail')).rejects.toThrow('as asked');
  await expect(engine.call('nothing')).rejects.toThrow(/exported function nothing/);
  expect([
    ...(await engine.call<{ values: Float32Array }>('square', { values: new Float32Array([2]) })).values,
  ]).toEqual([4]);
});

test('after close, calls fail', async () => {
  const other = new EngineWorker(new URL('./worker/steps.ts', import.meta.url), {
    execArgv: typescript,
  });
  await other.close();
  await expect(other.call('fail')).rejects.toThrow(/ended/);
});
