import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { EngineFacts, EngineName } from '../src/engine.js';
import { listEngines, useBackend } from '../src/index.js';
import { switchTo, testEngines } from '../src/testing.js';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock('../src/engines/index.js');
  vi.doUnmock('../src/engines/tensorflow.js');
  vi.resetModules();
});

/** useBackend where each engine gives these facts, or this reason for not loading. */
async function choosing(engines: Record<EngineName, Partial<EngineFacts> | string>, noGpu?: string) {
  vi.stubEnv('MEZZOTINT_BACKEND', '');
  vi.resetModules();
  const load = (name: EngineName) => async (provider?: string) => {
    const what = engines[name];
    if (typeof what === 'string') throw new Error(what);
    return { version: '1', device: provider ?? 'cpu', trains: true, limits: [], ...what };
  };
  const fakes = Object.fromEntries(
    Object.keys(engines).map((name) => [name, { name, load: load(name as EngineName) }]),
  );
  vi.doMock('../src/engines/index.js', () => ({ ENGINES: fakes }));
  vi.doMock('../src/engines/tensorflow.js', () => ({ whyNoGpu: async () => noGpu }));
  return (await import('../src/use-backend.js')).useBackend;
}

describe('the order of preference', () => {
  test('a GPU before all', async () => {
    const useBackend = await choosing({ tensorflow: { device: 'gpu' }, onnxruntime: {}, wasm: {}, cpu: {} });
    expect(await useBackend()).toMatchObject({ name: 'tensorflow', device: 'gpu', why: [] });
  });

  test('onnxruntime before TensorFlow on a CPU', async () => {
    const useBackend = await choosing({ tensorflow: {}, onnxruntime: { version: '2' }, wasm: {}, cpu: {} });
    expect(await useBackend()).toMatchObject({
      name: 'onnxruntime',
      version: '2',
      why: [{ engine: 'tensorflow on a GPU', reason: 'TensorFlow sees no GPU, only cpu' }],
    });
  });

  test('TensorFlow on a CPU before wasm, and no time is spent on it where there is no GPU', async () => {
    const engines = { tensorflow: {}, onnxruntime: 'absent', wasm: {}, cpu: {} };
    const useBackend = await choosing(engines, 'no NVIDIA GPU');
    expect(await useBackend()).toMatchObject({
      name: 'tensorflow',
      why: [
        { engine: 'tensorflow on a GPU', reason: 'no NVIDIA GPU' },
        { engine: 'onnxruntime', reason: 'absent' },
      ],
    });
  });

  test('cpu when nothing else loads, with every reason', async () => {
    const useBackend = await choosing(
      { tensorflow: 'no addon', onnxruntime: 'absent', wasm: 'no wasm', cpu: {} },
      'no addon',
    );
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const { name, why } = await useBackend();
    expect(warned.mock.calls).toEqual([
      [
        expect.stringMatching(/'cpu' was chosen, .*as slow.*onnxruntime: absent.*wasm: no wasm$/),
        { code: 'MEZZOTINT_SLOW_ENGINE' },
      ],
    ]);
    expect((await useBackend({ engine: 'cpu' })).name).toBe('cpu'); // Who asks for it is not warned.
    expect(warned.mock.calls).toHaveLength(1);
    warned.mockRestore();
    expect(name).toBe('cpu');
    expect(why.map(({ reason }) => reason)).toEqual(['no addon', 'absent', 'no addon', 'no wasm']);
  });

  test('an error with every reason when nothing loads', async () => {
    const useBackend = await choosing({ tensorflow: 'a', onnxruntime: 'b', wasm: 'c', cpu: 'd' });
    const wanted = ['No engine loads here:', 'tensorflow: a', 'onnxruntime: b', 'wasm: c', 'cpu: d'];
    const { message } = (await useBackend().then(undefined, (error: Error) => error)) as Error;
    for (const line of wanted) expect(message).toContain(line);
  });
});

describe('asked for by name', () => {
  test('an argument wins over the environment', async () => {
    vi.stubEnv('MEZZOTINT_BACKEND', 'wasm');
    expect(await useBackend({ engine: 'cpu' })).toMatchObject({ name: 'cpu', trains: true, why: [] });
    expect(tf.getBackend()).toBe('cpu');
  });

  test('the environment wins over the preference', async () => {
    vi.stubEnv('MEZZOTINT_BACKEND', 'cpu');
    expect((await useBackend()).name).toBe('cpu');
  });

  test('an unknown name lists the names', async () => {
    const wrong = useBackend({ engine: 'webgl' });
    await expect(wrong).rejects.toThrow(InvalidArgumentError);
    await expect(wrong).rejects.toThrow(
      "expected one of tensorflow, onnxruntime, wasm, cpu, or onnxruntime:PROVIDER as engine, got 'webgl'",
    );
    vi.stubEnv('MEZZOTINT_BACKEND', 'gpu');
    await expect(useBackend()).rejects.toThrow("in MEZZOTINT_BACKEND, got 'gpu'");
  });

  test('an engine that does not load says why, and is not replaced by another', async () => {
    const useBackend = await choosing({ tensorflow: 'no addon', onnxruntime: 'absent', wasm: {}, cpu: {} });
    const failing = useBackend({ engine: 'tensorflow' });
    await expect(failing).rejects.toThrow("The engine 'tensorflow' does not load here: no addon.");
    await failing.catch((error) => {
      expect(MezzotintError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({
        code: 'MEZZOTINT_ENGINE_UNAVAILABLE',
        facts: { engine: 'tensorflow', reason: 'no addon' },
      });
    });
  });
});

describe('execution providers', () => {
  test('are asked for after the name of the engine, by argument or environment', async () => {
    const useBackend = await choosing({ tensorflow: 'a', onnxruntime: {}, wasm: 'c', cpu: 'd' });
    const webgpu = { name: 'onnxruntime:webgpu', device: 'webgpu', why: [] };
    expect(await useBackend({ engine: 'onnxruntime:webgpu' })).toMatchObject(webgpu);
    vi.stubEnv('MEZZOTINT_BACKEND', 'onnxruntime:webgpu');
    expect(await useBackend()).toMatchObject(webgpu);
    expect(await useBackend({ engine: 'onnxruntime:cpu' })).toMatchObject({ name: 'onnxruntime', device: 'cpu' });
  });

  test.each(['onnxruntime:', 'wasm:webgpu', 'webgpu'])("'%s' is none", async (engine) => {
    await expect(useBackend({ engine })).rejects.toThrow(`or onnxruntime:PROVIDER as engine, got '${engine}'`);
  });

  // On a machine that has it, it computes; on all others the engine that was active still is, with its tensors.
  test.each(['webgpu', 'cuda', 'coreml', 'dml', 'abacus'])('%s is selected whole or not at all', async (provider) => {
    await switchTo('onnxruntime');
    const kept = tf.tensor1d([1, 2, 3]);
    const chosen = await useBackend({ engine: `onnxruntime:${provider}` }).catch((error: Error) => error);
    if (chosen instanceof Error) {
      expect(chosen.message).toContain(`The engine 'onnxruntime:${provider}' does not load here: `);
      expect(chosen).toMatchObject({ code: 'MEZZOTINT_ENGINE_UNAVAILABLE' });
      expect(tf.getBackend()).toBe('onnxruntime');
    } else {
      expect(tf.getBackend()).toBe(`onnxruntime:${provider}`);
      expect(chosen).toMatchObject({ name: `onnxruntime:${provider}`, device: provider });
    }
    expect([...tf.add(kept, 1).dataSync()]).toEqual([2, 3, 4]);
    kept.dispose();
    await switchTo('onnxruntime');
  });

  test('are listed on demand, each with its reason where it does not run', async () => {
    await switchTo('cpu');
    const reports = await listEngines({ providers: true });
    const names = reports.map(({ name }) => name);
    expect(names.slice(0, 2)).toEqual(['tensorflow', 'onnxruntime']);
    expect(names.slice(-2)).toEqual(['wasm', 'cpu']);
    for (const report of reports.slice(2, -2)) {
      expect(report.name).toMatch(/^onnxruntime:\w+$/);
      if (!report.loads) expect(report.reason).toMatch(/; it needs /);
    }
    expect(tf.getBackend()).toBe('cpu');
  });
});

test('an engine that fails while it starts leaves the one before active', async () => {
  await switchTo('cpu');
  vi.resetModules();
  const fails = async () => {
    tf.registerBackend('half', () => Promise.reject(new Error('no')));
    await tf.setBackend('half');
    throw new Error('half started');
  };
  vi.doMock('../src/engines/index.js', () => ({ ENGINES: { wasm: { name: 'wasm', load: fails } } }));
  const { useBackend } = await import('../src/use-backend.js');
  const warning = vi.spyOn(console, 'warn').mockImplementation(() => {}); // TensorFlow.js's own, of a rejected backend
  await expect(useBackend({ engine: 'wasm' })).rejects.toThrow('half started');
  warning.mockRestore();
  expect(tf.getBackend()).toBe('cpu');
  tf.removeBackend('half');
});

const engines = await testEngines();

describe('on this machine', () => {
  test('listEngines reports every engine and leaves the active one active', async () => {
    await switchTo('cpu');
    const reports = await listEngines();
    expect(reports.map(({ name }) => name)).toEqual(['tensorflow', 'onnxruntime', 'wasm', 'cpu']);
    for (const report of reports) {
      if (report.loads) expect(report).toMatchObject({ version: expect.any(String), trains: true });
      else expect(report.reason).not.toBe('');
    }
    expect(tf.getBackend()).toBe('cpu');
  });

  test('testEngines always has cpu, first; the environment narrows it', async () => {
    vi.stubEnv('MEZZOTINT_TEST_ENGINES', '');
    expect((await testEngines())[0]).toBe('cpu');
    vi.stubEnv('MEZZOTINT_TEST_ENGINES', 'wasm');
    expect(await testEngines()).toEqual(['wasm']);
    vi.stubEnv('MEZZOTINT_TEST_ENGINES', 'wasm,abacus');
    await expect(testEngines()).rejects.toThrow(
      /'abacus': there are tensorflow, onnxruntime, wasm, cpu, or onnxruntime:PROVIDER/,
    );
  });

  test.each(engines)('%s computes and differentiates', async (engine) => {
    expect((await useBackend({ engine })).name).toBe(engine);
    const slopes = tf.tidy(() =>
      tf
        .grad((x) => tf.sum(tf.square(x)))(tf.tensor1d([1, 2, 3]))
        .dataSync(),
    );
    expect(Array.from(slopes)).toEqual([2, 4, 6]);
  });
});
